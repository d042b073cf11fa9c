//! What to do next with a StatefulSet's pods, decided from what there is (upstream's `updateStatefulSet`).

/// A pod as far as the decision goes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Member {
    pub ordinal: i32,
    pub finished: bool,
    pub terminating: bool,
    pub ready: bool,
    pub available: bool,
    /// Of the newest revision.
    pub updated: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    pub start: i32,
    pub replicas: i32,
    /// One after the other, or all at once.
    pub ordered: bool,
    /// The first ordinal to update; `None` where pods are only updated when somebody deletes them.
    pub partition: Option<i32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Create(i32),
    /// Deleted to be made again.
    Replace(i32),
    /// Beyond the wanted size.
    Remove(i32),
}

pub fn steps(wanted: Wanted, members: &[Member]) -> Vec<Step> {
    let end = wanted.start + wanted.replicas;
    let find = |ordinal: i32| members.iter().find(|m| m.ordinal == ordinal);
    let healthy = |m: &Member| m.ready && !m.terminating;
    let mut steps = Vec::new();
    for ordinal in wanted.start..end {
        let step = match find(ordinal) {
            None => Some(Step::Create(ordinal)),
            Some(m) if m.finished && !m.terminating => Some(Step::Replace(ordinal)),
            Some(_) => None,
        };
        let settled = find(ordinal).is_some_and(|m| healthy(m) && m.available);
        let acted = step.is_some();
        steps.extend(step);
        if wanted.ordered && (acted || !settled) {
            return steps;
        }
    }
    let mut condemned: Vec<&Member> = members.iter().filter(|m| m.ordinal < wanted.start || m.ordinal >= end).collect();
    condemned.sort_by_key(|m| std::cmp::Reverse(m.ordinal));
    let kept = (wanted.start..end).filter_map(find);
    let first_unhealthy = kept.chain(condemned.iter().rev().copied()).find(|m| !healthy(m)).map(|m| m.ordinal);
    for member in condemned {
        if member.terminating {
            if wanted.ordered {
                return steps;
            }
            continue;
        }
        if wanted.ordered && !(member.ready && member.available) && first_unhealthy != Some(member.ordinal) {
            return steps;
        }
        steps.push(Step::Remove(member.ordinal));
        if wanted.ordered {
            return steps;
        }
    }
    let Some(partition) = wanted.partition else { return steps };
    if steps.iter().any(|s| !matches!(s, Step::Remove(_))) {
        return steps;
    }
    for ordinal in (wanted.start.max(wanted.start + partition)..end).rev() {
        let Some(member) = find(ordinal) else { return steps };
        if !member.updated && !member.terminating {
            steps.push(Step::Replace(ordinal));
            return steps;
        }
        if !(healthy(member) && member.available) {
            return steps;
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good(ordinal: i32, updated: bool) -> Member {
        Member { ordinal, ready: true, available: true, updated, ..Member::default() }
    }

    const ORDERED: Wanted = Wanted { start: 0, replicas: 3, ordered: true, partition: Some(0) };

    #[test]
    fn ordered_pods_come_one_after_the_other_and_parallel_ones_at_once() {
        assert_eq!(steps(ORDERED, &[]), [Step::Create(0)]);
        assert_eq!(steps(ORDERED, &[Member { ordinal: 0, ..Member::default() }]), []);
        assert_eq!(steps(ORDERED, &[good(0, true)]), [Step::Create(1)]);
        let parallel = Wanted { ordered: false, ..ORDERED };
        assert_eq!(steps(parallel, &[]), [Step::Create(0), Step::Create(1), Step::Create(2)]);
    }

    #[test]
    fn scaling_down_takes_the_highest_and_waits_for_it() {
        let one = Wanted { replicas: 1, ..ORDERED };
        assert_eq!(steps(one, &[good(0, true), good(1, true), good(2, true)]), [Step::Remove(2)]);
        let going = Member { terminating: true, ..good(2, true) };
        assert_eq!(steps(one, &[good(0, true), good(1, true), going]), []);
    }

    #[test]
    fn an_update_goes_from_the_highest_ordinal_down_to_the_partition() {
        let old = [good(0, false), good(1, false), good(2, false)];
        assert_eq!(steps(ORDERED, &old), [Step::Replace(2)]);
        let partitioned = Wanted { partition: Some(2), ..ORDERED };
        assert_eq!(steps(partitioned, &[good(0, false), good(1, false), good(2, true)]), []);
        assert_eq!(steps(Wanted { partition: None, ..ORDERED }, &old), []);
    }
}
