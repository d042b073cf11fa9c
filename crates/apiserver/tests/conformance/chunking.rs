use crate::support::*;
use serde_json::{Value, json};

async fn forty(s: &Server) -> Vec<String> {
    let wanted: Vec<String> = (0..40).map(|n| format!("map-{n:04}")).collect();
    for name in &wanted {
        s.map(name).await;
    }
    wanted
}

fn next(list: &Value) -> Option<String> {
    list["metadata"]["continue"].as_str().filter(|token| !token.is_empty()).map(str::to_string)
}

/// Behaviour: [sig-api-machinery] Servers with support for API chunking should return chunks of results for list calls
#[tokio::test(flavor = "multi_thread")]
async fn a_list_comes_in_parts_of_one_moment() {
    let (s, _dir) = server().await;
    let wanted = forty(&s).await;
    let (mut seen, mut token, mut moment): (Vec<String>, Option<String>, Option<u64>) = (Vec::new(), None, None);
    loop {
        let more = token.as_ref().map(|token| format!("&continue={token}")).unwrap_or_default();
        let part = s.get(&format!("{MAPS}?limit=17{more}")).await.expect(200);
        assert_eq!(*moment.get_or_insert(version(&part)), version(&part));
        seen.extend(names(&part).into_iter().map(str::to_string));
        let left = (wanted.len() - seen.len()) as u64;
        assert_eq!(part["metadata"]["remainingItemCount"].as_u64().unwrap_or_default(), left);
        token = next(&part);
        if token.is_none() {
            break;
        }
        // Whatever is written meanwhile is of a later moment.
        s.map(&format!("zz-{}", seen.len())).await;
    }
    assert_eq!(seen, wanted);
    assert_eq!(names(&s.get(MAPS).await.expect(200)).len(), wanted.len() + 2);
}

/// Behaviour: [sig-api-machinery] Servers with support for API chunking should support continue listing from the last key if the original version has been compacted away, though the list is inconsistent
#[tokio::test(flavor = "multi_thread")]
async fn a_list_goes_on_after_its_moment_was_forgotten_when_asked_to() {
    let (s, _dir) = server().await;
    let wanted = forty(&s).await;
    let first = s.get(&format!("{MAPS}?limit=10")).await.expect(200);
    // Something else has changed; what is listed is as it was, and its moment is forgotten all the same.
    s.post("/api/v1/namespaces", json!({"metadata": {"name": "later"}})).await.expect(201);
    let now = s.api.store().revision().await.unwrap();
    s.api.store().compact(now).await.unwrap();
    let gone = s.get(&format!("{MAPS}?limit=10&continue={}", next(&first).unwrap())).await.expect(410);
    assert_eq!(gone["reason"], "Expired");
    let token = next(&gone).expect("a token for an inconsistent list");
    let second = s.get(&format!("{MAPS}?limit=10&continue={token}")).await.expect(200);
    assert_eq!(names(&second), wanted[10..20]);
    assert!(version(&second) > version(&first));
    // From there on the parts are of one moment again, a later one.
    let rest = s.get(&format!("{MAPS}?continue={}", next(&second).unwrap())).await.expect(200);
    assert_eq!((names(&rest).len(), version(&rest)), (20, version(&second)));
}
