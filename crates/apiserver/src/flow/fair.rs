//! Queues that are served in turn, by the work that each has been given: a flow that floods its queue delays
//! itself and the few that share the queue, nobody else. Knows neither time nor threads.

use std::collections::VecDeque;
use std::time::Duration;

/// What a request is taken to last until it is known.
const GUESS: f64 = 0.005;

/// How a level's queues are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    pub queues: usize,
    /// How many queues a flow may choose from.
    pub hand: usize,
    /// The most that wait in one queue.
    pub length: usize,
}

pub struct Queues<T> {
    shape: Shape,
    queues: Vec<Queue<T>>,
    /// Work is measured in seats times seconds; a queue is behind or ahead of this.
    now: f64,
    ticket: u64,
    waiting_seats: u64,
    /// Where the search for the next queue begins, so that equals take turns.
    turn: usize,
}

struct Queue<T> {
    /// When, in work, its next request starts.
    start: f64,
    waiting: VecDeque<Waiting<T>>,
    waiting_seats: u64,
    executing_seats: u64,
}

struct Waiting<T> {
    ticket: u64,
    seats: u32,
    item: T,
}

/// Where a waiting item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub queue: usize,
    ticket: u64,
}

/// The queue is full.
#[derive(Debug, PartialEq, Eq)]
pub struct Full;

impl<T> Queues<T> {
    pub fn new(shape: Shape) -> Self {
        let mut queues = Self { shape, queues: Vec::new(), now: 0.0, ticket: 0, waiting_seats: 0, turn: 0 };
        queues.reshape(shape);
        queues
    }

    /// Queues that are no longer dealt go once they are empty.
    pub fn reshape(&mut self, shape: Shape) {
        self.shape = Shape { queues: shape.queues.max(1), hand: shape.hand.clamp(1, shape.queues.max(1)), length: shape.length };
        while self.queues.len() > self.shape.queues && self.queues.last().is_some_and(|q| q.waiting.is_empty() && q.executing_seats == 0) {
            self.queues.pop();
        }
    }

    /// Queues are made when they are first needed: most never are.
    fn queue(&mut self, index: usize) -> &mut Queue<T> {
        while self.queues.len() <= index {
            self.queues.push(Queue { start: 0.0, waiting: VecDeque::new(), waiting_seats: 0, executing_seats: 0 });
        }
        &mut self.queues[index]
    }

    pub fn waiting_seats(&self) -> u64 {
        self.waiting_seats
    }

    /// `hash`: of the flow. Also answers how many waited there before.
    pub fn push(&mut self, hash: u64, seats: u32, item: T) -> Result<(Place, usize), Full> {
        let hand = deal(hash, self.shape.queues, self.shape.hand);
        let load = |i: &usize| self.queues.get(*i).map_or(0, |q| q.waiting_seats + q.executing_seats);
        let index = hand.iter().copied().min_by_key(load).unwrap_or(0);
        let (now, length) = (self.now, self.shape.length);
        let ticket = self.ticket + 1;
        let queue = self.queue(index);
        if queue.waiting.len() >= length {
            return Err(Full);
        }
        let before = queue.waiting.len();
        if before == 0 {
            // Nobody saves up turns while away.
            queue.start = queue.start.max(now);
        }
        queue.waiting.push_back(Waiting { ticket, seats, item });
        queue.waiting_seats += u64::from(seats);
        self.ticket = ticket;
        self.waiting_seats += u64::from(seats);
        Ok((Place { queue: index, ticket }, before))
    }

    fn next(&self) -> Option<usize> {
        let count = self.queues.len();
        let order = (0..count).map(|i| (i + self.turn) % count);
        order.filter(|i| !self.queues[*i].waiting.is_empty()).min_by(|a, b| self.queues[*a].start.total_cmp(&self.queues[*b].start))
    }

    /// The seats of the request that is next.
    pub fn peek(&self) -> Option<u32> {
        self.queues[self.next()?].waiting.front().map(|w| w.seats)
    }

    /// Lets the next one go: its queue, its seats, itself.
    pub fn pop(&mut self) -> Option<(usize, u32, T)> {
        let index = self.next()?;
        self.turn = index + 1;
        let queue = &mut self.queues[index];
        let first = queue.waiting.pop_front()?;
        let seats = u64::from(first.seats);
        self.now = self.now.max(queue.start);
        queue.start += GUESS * f64::from(first.seats);
        queue.waiting_seats -= seats;
        queue.executing_seats += seats;
        self.waiting_seats -= seats;
        Some((index, first.seats, first.item))
    }

    /// One that does not want to wait any longer; none if it went already.
    pub fn remove(&mut self, place: Place) -> Option<T> {
        let queue = self.queues.get_mut(place.queue)?;
        let at = queue.waiting.iter().position(|w| w.ticket == place.ticket)?;
        let gone = queue.waiting.remove(at)?;
        queue.waiting_seats -= u64::from(gone.seats);
        self.waiting_seats -= u64::from(gone.seats);
        Some(gone.item)
    }

    /// What was guessed is put right.
    pub fn finished(&mut self, queue: usize, seats: u32, took: Duration) {
        if let Some(queue) = self.queues.get_mut(queue) {
            queue.start += (took.as_secs_f64() - GUESS) * f64::from(seats);
            queue.executing_seats = queue.executing_seats.saturating_sub(seats.into());
        }
    }

    /// Who waits: the queue, the place in it, the seats and the item.
    pub fn waiting(&self) -> impl Iterator<Item = (usize, usize, u32, &T)> {
        let each = self.queues.iter().enumerate();
        each.flat_map(|(q, queue)| queue.waiting.iter().enumerate().map(move |(i, w)| (q, i, w.seats, &w.item)))
    }

    /// How many wait in each queue that has ever been used, and the seats taken from it.
    pub fn lengths(&self) -> Vec<(usize, u64, f64)> {
        self.queues.iter().map(|q| (q.waiting.len(), q.executing_seats, q.start)).collect()
    }
}

/// Different cards from a deck, chosen by the bits of `hash`.
pub fn deal(mut hash: u64, deck: usize, hand: usize) -> Vec<usize> {
    let mut cards: Vec<usize> = Vec::with_capacity(hand);
    for dealt in 0..hand.min(deck) {
        let left = (deck - dealt) as u64;
        let mut card = (hash % left) as usize;
        hash /= left;
        // Counted among the cards that are left.
        let mut sorted = cards.clone();
        sorted.sort_unstable();
        for taken in sorted {
            if taken <= card {
                card += 1;
            }
        }
        cards.push(card);
    }
    cards
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SHAPE: Shape = Shape { queues: 64, hand: 6, length: 50 };

    #[test]
    fn a_mouse_gets_past_an_elephant() {
        let mut queues = Queues::new(SHAPE);
        while queues.push(1, 1, "elephant").is_ok() {}
        // Far enough from 1 that the hands differ, as hashes do.
        queues.push(0x9E37_79B9_7F4A_7C15, 1, "mouse").unwrap();
        let first: Vec<&str> = (0..8).filter_map(|_| queues.pop()).map(|(_, _, who)| who).collect();
        assert!(first.contains(&"mouse"), "{first:?}");
    }

    #[test]
    fn one_flow_cannot_fill_more_than_its_hand() {
        let mut queues = Queues::new(SHAPE);
        let taken = (0..10_000).take_while(|_| queues.push(7, 1, ()).is_ok()).count();
        assert_eq!(taken, SHAPE.hand * SHAPE.length);
    }

    #[test]
    fn work_and_not_requests_are_shared() {
        let mut queues = Queues::new(Shape { queues: 2, hand: 1, length: 1000 });
        let other = (0..).find(|h| deal(*h, 2, 1) != deal(0, 2, 1)).unwrap();
        for _ in 0..500 {
            queues.push(0, 10, "wide").unwrap();
            queues.push(other, 1, "narrow").unwrap();
        }
        let mut served = [0, 0];
        for _ in 0..110 {
            let (queue, seats, who) = queues.pop().unwrap();
            queues.finished(queue, seats, Duration::from_millis(20));
            served[usize::from(who == "wide")] += 1;
        }
        assert!(served[0] >= 9 * served[1], "{served:?}");
    }

    #[test]
    fn who_leaves_is_not_served() {
        let mut queues = Queues::new(SHAPE);
        let (place, _) = queues.push(1, 3, "gone").unwrap();
        queues.push(1, 1, "stays").unwrap();
        assert_eq!(queues.remove(place), Some("gone"));
        assert_eq!(queues.remove(place), None);
        assert_eq!(queues.waiting_seats(), 1);
        assert_eq!(queues.pop().map(|(_, _, who)| who), Some("stays"));
        assert_eq!(queues.peek(), None);
    }

    proptest! {
        #[test]
        fn a_hand_has_no_card_twice(hash: u64, deck in 1_usize..200, hand in 1_usize..12) {
            let mut cards = deal(hash, deck, hand);
            prop_assert!(cards.iter().all(|c| *c < deck));
            let count = cards.len();
            cards.sort_unstable();
            cards.dedup();
            prop_assert_eq!(cards.len(), count);
            prop_assert_eq!(count, hand.min(deck));
        }
    }
}
