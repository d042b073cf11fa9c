use super::*;

fn answer(response: Value) -> Value {
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
}

#[test]
fn an_answer_has_to_be_about_the_question() {
    let check = |review: &Value, mutating| response(review, "v1", "u", mutating).map(drop).unwrap_err();
    let invalid = "received invalid webhook response: ";
    for (review, mutating, why) in [
        (json!({}), true, "webhook response was absent"),
        (answer(json!({"uid": "x"})), true, "expected response.uid=\"u\", got \"x\""),
        (
            json!({"apiVersion": "admission.k8s.io/v1beta1", "kind": "AdmissionReview", "response": {"uid": "u"}}),
            true,
            "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got admission.k8s.io/v1beta1, Kind=AdmissionReview",
        ),
        (answer(json!({"uid": "u", "patch": "W10="})), true, "webhook returned response.patch but not response.patchType"),
        (answer(json!({"uid": "u", "patchType": "JSONPatch"})), true, "webhook returned response.patchType but not response.patch"),
        (answer(json!({"uid": "u", "patch": "W10="})), false, "validating webhook may not return response.patch"),
        (answer(json!({"uid": "u", "patchType": "JSONPatch"})), false, "validating webhook may not return response.patchType"),
    ] {
        assert_eq!(check(&review, mutating), format!("{invalid}{why}"));
    }
    let other = answer(json!({"uid": "u", "patch": "W10=", "patchType": "Merge"}));
    assert_eq!(check(&other, true), "unsupported patch type \"Merge\"");
    assert!(check(&answer(json!({"uid": "u", "patch": "%", "patchType": "JSONPatch"})), true).starts_with("received undecodable patch"));
}

#[test]
fn the_older_review_is_taken_as_leniently_as_ever() {
    let old = json!({"response": {"allowed": true, "patch": "W10="}});
    assert_eq!(response(&old, "v1beta1", "u", true).unwrap().patch, Some(json!([])));
}

#[test]
fn a_denial_carries_the_webhooks_own_status() {
    let told = |status: Option<Value>| {
        let error = denial("w", status.as_ref());
        (error.code, error.reason.to_string(), error.message)
    };
    let denied = "admission webhook \"w\" denied the request";
    assert_eq!(told(None), (400, String::new(), format!("{denied} without explanation")));
    assert_eq!(told(Some(json!({"reason": "Odd", "code": 200}))), (400, "Odd".into(), format!("{denied}: Odd")));
    let given = json!({"message": "no", "reason": "Forbidden", "code": 403});
    assert_eq!(told(Some(given)), (403, "Forbidden".into(), format!("{denied}: no")));
}
