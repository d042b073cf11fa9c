use super::provider::{Key, Provider};
use super::*;
use bytes::Bytes;

const FILE: &str = r#"
apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: [secrets]
  providers:
  - aesgcm: {keys: [{name: a, secret: MDEyMzQ1Njc4OWFiY2RlZg==}, {name: b, secret: MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=}]}
  - identity: {}
- resources: ["*.apps", configmaps]
  providers: [{secretbox: {keys: [{name: s, secret: MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=}]}}]
- resources: ["*.*"]
  providers: [{identity: {}}, {aescbc: {keys: [{name: c, secret: MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3}]}}]
"#;
const PLACE: &str = "/registry/secrets/default/a";

fn written(group: &str, resource: &str) -> String {
    config::Rules::parse(FILE).unwrap().transformer(&GroupResource::new(group, resource)).writes().to_string()
}

#[test]
fn the_first_rule_that_fits_decides() {
    assert_eq!(written("", "secrets"), "k8s:enc:aesgcm:v1:a:");
    assert_eq!(written("apps", "deployments"), "k8s:enc:secretbox:v1:s:");
    assert_eq!(written("", "configmaps"), "k8s:enc:secretbox:v1:s:");
    assert_eq!(written("example.com", "things"), "");
}

#[test]
fn every_provider_hides_and_returns_what_it_was_given() {
    for size in [16, 24, 32] {
        let key = || vec![Key { name: "k".into(), secret: vec![7; size] }];
        let mut providers = vec![Provider::AesGcm(key()), Provider::AesCbc(key())];
        if size == 32 {
            providers.push(Provider::SecretBox(key()));
        }
        for provider in providers {
            let (what, bound) = (provider.prefix(), matches!(provider, Provider::AesGcm(_)));
            let transformer = Transformer::new(vec![provider]);
            for text in ["", "{\"kind\":\"Secret\"}", "0123456789abcdef"] {
                let sealed = transformer.seal(Bytes::from(text), PLACE).unwrap();
                assert!(sealed.starts_with(format!("{what}k:").as_bytes()) && (text.is_empty() || !contains(&sealed, text)));
                let opened = transformer.open(&sealed, PLACE).unwrap();
                assert_eq!((&opened.plain[..], &*opened.stored), (text.as_bytes(), &**transformer.writes()));
                // A value moved to another object's place.
                assert_eq!(transformer.open(&sealed, "/registry/secrets/default/b").is_err(), bound, "{what}");
                let mut altered = sealed.to_vec();
                *altered.last_mut().unwrap() ^= 0x80;
                assert!(transformer.open(&altered.into(), PLACE).is_err(), "{what} {text}");
            }
        }
    }
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|w| w == text.as_bytes())
}

/// What NaCl's own test vector says of this box (nonce, key and message as in its `tests/secretbox.c`).
#[test]
fn a_secretbox_is_nacls() {
    let hex = |text: &str| (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect::<Vec<u8>>();
    let key = hex("1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389");
    let nonce = hex("69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37");
    let message = hex(
        "be075fc53c81f2d5cf141316ebeb0c7b5228c52a4c62cbd44b66849b64244ffce5ecbaaf33bd751a1ac728d45e6c61296cdc3c01233561f41db66cce314adb310e3be8250c46f06dceea3a7fa1348057e2f6556ad6b1318a024a838f21af1fde048977eb48f59ffd4924ca1c60902e52f0a089bc76897040e082f937763848645e0705",
    );
    let sealed = hex(
        "f3ffc7703f9400e52a7dfb4b3d3305d98e993b9f48681273c29650ba32fc76ce48332ea7164d96a4476fb8c531a1186ac0dfc17c98dce87b4da7f011ec48c97271d2c20f9b928fe2270d6fb863d51738b48eeee314a7cc8ab932164548e526ae90224368517acfeabd6bb3732bc0e9da99832b61ca01b6de56244a9e88d5f9b37973f622a43d14a6599b1f654cb45a74e355a5",
    );
    let provider = Provider::SecretBox(vec![Key { name: "k".into(), secret: key }]);
    let opened = provider.open(&provider.keys()[0], &[nonce, sealed].concat(), PLACE).unwrap();
    assert_eq!(opened, message);
}

#[test]
fn a_key_that_is_not_there_is_named() {
    let rules = config::Rules::parse(FILE).unwrap();
    let secrets = rules.transformer(&GroupResource::new("", "secrets"));
    let says = |stored: &str| secrets.open(&Bytes::from(stored.to_string()), PLACE).map(drop).unwrap_err();
    assert!(says("k8s:enc:aesgcm:v1:gone:xxxx").contains("the key \"gone\", which is not configured"));
    assert!(says("k8s:enc:aescbc:v1:c:xxxx").contains("no matching prefix found"));
    assert!(says("k8s:enc:aesgcm:v1:a:xxxx").contains("wrong key"));
    let boxed = rules.transformer(&GroupResource::new("", "configmaps"));
    assert!(boxed.open(&Bytes::from("{}"), PLACE).map(drop).unwrap_err().contains("not encrypted"));
}

#[test]
fn a_file_that_cannot_work_is_refused_and_shows_no_secret() {
    for (from, to, says) in [
        ("{name: a,", "{name: 'a:',", "no colon"),
        ("MDEyMzQ1Njc4OWFiY2RlZg==", "c2hvcnQ=", "16, 24, 32"),
        ("MDEyMzQ1Njc4OWFiY2RlZg==", "'%%'", "base64"),
        ("{name: b,", "{name: a,", "unique"),
        ("[secrets]", "[]", "at least one"),
        ("[secrets]", "['*']", "must be resource"),
        ("  - identity: {}", "  - kms: {name: x}", "kms is not supported"),
        ("/v1\n", "/v2\n", "must be an apiserver.config.k8s.io/v1"),
        ("identity", "identify", "identify"),
    ] {
        let error = config::Rules::parse(&FILE.replacen(from, to, 1)).err().unwrap_or_else(|| panic!("{to}: accepted"));
        assert!(error.contains(says) && !error.contains("c2hvcnQ") && !error.contains("short"), "{to}: {error}");
    }
}
