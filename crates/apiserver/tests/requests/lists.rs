use crate::support::*;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn a_list_in_parts_stays_at_its_moment_until_that_is_forgotten() {
    let (s, _dir) = server().await;
    for name in ["a", "b", "c", "d", "e"] {
        s.map(name).await;
    }
    let first = s.get(&format!("{MAPS}?limit=2")).await.expect(200);
    assert_eq!((names(&first), &first["metadata"]["remainingItemCount"]), (vec!["a", "b"], &json!(3)));
    s.delete(&format!("{MAPS}/c"), Value::Null).await.expect(200);
    let next = |list: &Value| format!("{MAPS}?limit=2&continue={}", list["metadata"]["continue"].as_str().unwrap());
    let second = s.get(&next(&first)).await.expect(200);
    assert_eq!((names(&second), version(&second)), (vec!["c", "d"], version(&first)));
    let third = s.get(&next(&second)).await.expect(200);
    assert_eq!(names(&third), ["e"]);
    assert!(third["metadata"]["continue"].as_str().is_none_or(str::is_empty));
    let now = s.api.store().revision().await.unwrap();
    s.api.store().compact(now).await.unwrap();
    let gone = s.get(&next(&first)).await.expect(410);
    assert_eq!(gone["reason"], "Expired");
    s.get(&format!("{MAPS}?limit=2&continue=nonsense")).await.expect(400);
}

#[tokio::test(flavor = "multi_thread")]
async fn selectors_choose() {
    let (s, _dir) = server().await;
    for name in ["a", "b", "c"] {
        s.map(name).await;
    }
    let list = async |query: &str| s.get(&format!("{MAPS}?{query}")).await;
    assert_eq!(names(&list("labelSelector=n%20in%20(a,c)").await.expect(200)), ["a", "c"]);
    assert_eq!(names(&list("labelSelector=n!%3Da,n").await.expect(200)), ["b", "c"]);
    assert_eq!(names(&list("fieldSelector=metadata.name%3Db").await.expect(200)), ["b"]);
    list("fieldSelector=data.x%3Db").await.expect(400);
    list("labelSelector=a%3D%3D%3Db").await.expect(400);
    s.delete(&format!("{MAPS}?labelSelector=n%3Da"), Value::Null).await.expect(200);
    assert_eq!(names(&s.get(MAPS).await.expect(200)), ["b", "c"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_and_metadata_are_given_to_who_asks() {
    let (s, _dir) = server().await;
    s.default_account().await;
    s.post(PODS, json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a", "image": "a"}]}})).await.expect(201);
    let table = s.get_as(PODS, "application/json;as=Table;v=v1;g=meta.k8s.io,application/json").await.expect(200);
    assert_eq!((&table["kind"], &table["apiVersion"]), (&json!("Table"), &json!("meta.k8s.io/v1")));
    let columns: Vec<&str> = table["columnDefinitions"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(columns[..5], ["Name", "Ready", "Status", "Restarts", "Age"]);
    assert_eq!(table["rows"][0]["cells"].as_array().unwrap()[..3], [json!("p"), json!("0/1"), json!("Pending")]);
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    let meta = s.get_as(&format!("{PODS}/p"), "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io").await.expect(200);
    assert_eq!((&meta["kind"], &meta["metadata"]["name"], &meta["spec"]), (&json!("PartialObjectMetadata"), &json!("p"), &Value::Null));
    let list = s.get_as(PODS, "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io").await.expect(200);
    assert_eq!(list["kind"], "PartialObjectMetadataList");
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_there_after_a_restart() {
    let dir = Dir::new();
    let first = open(&dir).await;
    let made = first.map("a").await;
    first.stop.cancel();
    drop(first);
    let second = open(&dir).await;
    assert_eq!(second.get(&format!("{MAPS}/a")).await.expect(200), made);
    assert!(version(&second.map("b").await) > version(&made));
    let events = second.events(&format!("{MAPS}?watch=1&resourceVersion={}", version(&made)), 1).await;
    assert_eq!((types(&events), &events[0]["object"]["metadata"]["name"]), (vec!["ADDED"], &json!("b")));
}
