//! How many seats a request takes: one, but lists take more the more they have to go through.

use crate::attributes::Attributes;
use crate::catalog::Resource;
use crate::query::Query;

const OBJECTS_A_SEAT: u64 = 100;
const MOST: u64 = 10;

/// `nominal`: the level's seats, of which one request takes no more than a part.
pub fn seats(attributes: &Attributes, resource: Option<&Resource>, query: &Query, nominal: u32) -> u32 {
    let begins = || query.flag("sendInitialEvents") || matches!(query.text("resourceVersion"), "" | "0");
    let lists = match attributes.verb.as_str() {
        "list" => true,
        // A watch that begins with what is there is a list until it has told that.
        "watch" => begins(),
        _ => false,
    };
    let Some(cache) = resource.and_then(|r| r.cache.as_ref()).filter(|_| lists && attributes.name.is_empty()) else { return 1 };
    let count = cache.count() as u64;
    let wanted = count.div_ceil(OBJECTS_A_SEAT).clamp(1, MOST);
    // Upstream's bound of 15 % of a level.
    let bound = (u64::from(nominal) * 15).div_ceil(100).max(1);
    u32::try_from(wanted.min(bound)).unwrap_or(1)
}
