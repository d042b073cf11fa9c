//! From a query to the message that answers it, or to the statement that others must.

use super::zone::{Data, Lookup, Wanted, Zone};
use hickory_proto::op::{Edns, Message, MessageType, Metadata, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, CNAME, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use rand::seq::SliceRandom;

/// Endpoints come and go; so may what is said of them.
const TTL: u32 = 5;
const PLAIN_UDP: u16 = 512;
/// More is asked for only by those who do not mind fragments; nobody gets more than this.
const LARGEST_UDP: u16 = 1232;
/// A name that stands for a name that stands for a name…
const LONGEST_CHAIN: usize = 8;

/// What is to be done with a query.
pub enum Step {
    Answer(Message),
    /// The question is not ours.
    Forward,
    /// The answer so far ends with a name that is not ours: to be completed with that name's records.
    Complete(Message, Name),
    /// Not a query at all; an answer would start a ping-pong.
    Ignore,
}

pub fn step(zone: &Zone, query: &Message) -> Step {
    if query.metadata.message_type != MessageType::Query {
        return Step::Ignore;
    }
    if query.metadata.op_code != OpCode::Query {
        return Step::Answer(refusal(query, ResponseCode::NotImp));
    }
    let [question] = query.queries.as_slice() else { return Step::Answer(refusal(query, ResponseCode::FormErr)) };
    if query.edns.as_ref().is_some_and(|edns| edns.version() != 0) {
        return Step::Answer(refusal(query, ResponseCode::BADVERS));
    }
    if !matches!(question.query_class(), DNSClass::IN | DNSClass::ANY) {
        return Step::Answer(refusal(query, ResponseCode::Refused));
    }
    let wanted = match question.query_type() {
        RecordType::A => Wanted::Address,
        RecordType::SRV => Wanted::Srv,
        RecordType::TXT => Wanted::Txt,
        RecordType::PTR => Wanted::Ptr,
        RecordType::ANY => Wanted::Any,
        RecordType::AXFR | RecordType::IXFR => return Step::Answer(refusal(query, ResponseCode::Refused)),
        _ => Wanted::Other,
    };
    let mut answer = reply(query);
    answer.metadata.authoritative = true;
    let mut name = question.name().clone();
    for _ in 0..LONGEST_CHAIN {
        match find(zone, &name, wanted) {
            Lookup::Foreign if answer.answers.is_empty() => return Step::Forward,
            Lookup::Foreign => return Step::Complete(answer, name),
            Lookup::NoName => {
                answer.metadata.response_code = ResponseCode::NXDomain;
                answer.authorities.extend(authority(zone));
                return Step::Answer(answer);
            }
            Lookup::Found(found) => {
                if let [Data::Cname(target)] = found.as_slice() {
                    let Ok(target) = absolute(target) else { return Step::Answer(refusal(query, ResponseCode::ServFail)) };
                    answer.add_answer(Record::from_rdata(name, TTL, RData::CNAME(CNAME(target.clone()))));
                    if question.query_type() == RecordType::CNAME || wanted == Wanted::Any {
                        return Step::Answer(answer);
                    }
                    name = target;
                    continue;
                }
                fill(zone, &mut answer, &name, question.query_type(), found);
                return Step::Answer(answer);
            }
        }
    }
    Step::Answer(refusal(query, ResponseCode::ServFail))
}

/// An answer that says only why there is none.
pub fn refusal(query: &Message, code: ResponseCode) -> Message {
    let mut answer = reply(query);
    answer.metadata.response_code = code;
    if let Some(edns) = &mut answer.edns {
        edns.set_rcode_high(code.high());
    }
    answer
}

/// The answer's bytes; over UDP with as many records as the asker can take.
pub fn encode(query: &Message, mut answer: Message, udp: bool) -> Option<Vec<u8>> {
    let limit = match &query.edns {
        _ if !udp => usize::from(u16::MAX),
        Some(edns) => usize::from(edns.max_payload().clamp(PLAIN_UDP, LARGEST_UDP)),
        None => usize::from(PLAIN_UDP),
    };
    loop {
        let bytes = answer.to_vec().ok()?;
        if bytes.len() <= limit {
            return Some(bytes);
        }
        // Additional records are a courtesy; without an answer the asker must come back over TCP.
        if !answer.additionals.is_empty() {
            answer.additionals.clear();
            continue;
        }
        if answer.answers.is_empty() {
            return None;
        }
        answer.metadata.truncation = true;
        let excess = (bytes.len() - limit) * answer.answers.len() / bytes.len();
        let keep = answer.answers.len().saturating_sub(excess.max(1));
        answer.answers.truncate(keep);
    }
}

fn reply(query: &Message) -> Message {
    let mut answer = Message::response(query.metadata.id, query.metadata.op_code);
    answer.metadata = Metadata::response_from_request(&query.metadata);
    answer.metadata.recursion_available = true;
    answer.queries = query.queries.clone();
    if query.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(LARGEST_UDP);
        answer.edns = Some(edns);
    }
    answer
}

fn find(zone: &Zone, name: &Name, wanted: Wanted) -> Lookup {
    let lower = name.to_lowercase();
    let labels: Option<Vec<&str>> = lower.iter().map(|label| std::str::from_utf8(label).ok()).collect();
    match labels {
        Some(labels) => zone.lookup(&labels, wanted),
        None => Lookup::Foreign,
    }
}

fn fill(zone: &Zone, answer: &mut Message, name: &Name, asked: RecordType, mut found: Vec<Data>) {
    let apex = name.to_lowercase().to_ascii().trim_end_matches('.') == zone.domain();
    if apex && matches!(asked, RecordType::SOA | RecordType::ANY) {
        answer.answers.extend(authority(zone));
        return;
    }
    // Askers take the first; this spreads them.
    found.shuffle(&mut rand::rng());
    let total = found.len().max(1);
    for data in found {
        let data = match data {
            Data::A(address) => RData::A(A(address)),
            Data::Txt(text) => RData::TXT(TXT::new(vec![text.to_string()])),
            Data::Ptr(target) => match absolute(&target) {
                Ok(target) => RData::PTR(PTR(target)),
                Err(_) => continue,
            },
            Data::Srv(port, target) => {
                let Ok(target) = absolute(&target) else { continue };
                if let Lookup::Found(addresses) = find(zone, &target, Wanted::Address) {
                    for address in addresses {
                        if let Data::A(address) = address {
                            let record = Record::from_rdata(target.clone(), TTL, RData::A(A(address)));
                            if !answer.additionals.contains(&record) {
                                answer.additionals.push(record);
                            }
                        }
                    }
                }
                let weight = u16::try_from(100 / total).unwrap_or(1).max(1);
                RData::SRV(SRV::new(0, weight, port, target))
            }
            Data::Cname(target) => match absolute(&target) {
                Ok(target) => RData::CNAME(CNAME(target)),
                Err(_) => continue,
            },
        };
        answer.add_answer(Record::from_rdata(name.clone(), TTL, data));
    }
    if answer.answers.is_empty() {
        answer.authorities.extend(authority(zone));
    }
}

/// How long "no" may be believed stands in the zone's SOA record.
fn authority(zone: &Zone) -> Option<Record> {
    let apex = absolute(&zone.domain()).ok()?;
    let server = absolute(&format!("ns.dns.{}", zone.domain())).ok()?;
    let mailbox = absolute(&format!("hostmaster.{}", zone.domain())).ok()?;
    let soa = SOA::new(server, mailbox, zone.serial(), 7200, 1800, 86400, TTL);
    Some(Record::from_rdata(apex, TTL, RData::SOA(soa)))
}

fn absolute(name: &str) -> Result<Name, hickory_proto::ProtoError> {
    let mut name = Name::from_ascii(name)?;
    name.set_fqdn(true);
    Ok(name)
}
