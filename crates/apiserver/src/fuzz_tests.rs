//! The fuzz targets for a bounded time on what is known to be close to valid, changed a little at random.

use super::{TARGETS, pod};
use kinds::wire;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use serde_json::json;

const ROUNDS: usize = 300;

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let pod = pod();
    let bytes = |values: &[&str]| values.iter().map(|t| t.as_bytes().to_vec()).collect();
    match target {
        "json_body" => bytes(&[&pod.to_string(), r#"{"a":1e400,"a":-0.0,"b":[18446744073709551616,"\ud800"]}"#]),
        "yaml_body" => {
            bytes(&["a: &a [1, *a]\nb: |\n  x\n? [k]\n: !t v\n--- 1\n", "{a: {b: [c, 'd', \"e\\x\"]}}", "- - - x\n  - <<: *m\n"])
        }
        "protobuf_body" => wire::encode(&pod).map(|b| vec![b]).unwrap_or_default(),
        "object" => (0..=255_u8).step_by(5).map(|n| [&[n], pod.to_string().as_bytes()].concat()).collect(),
        "selectors" => bytes(&["a=b,c!=d,e in (f,g),h notin (i),j,!k", "metadata.name=x,spec.y!=z\\,w"]),
        "quantity" => bytes(&["1.5Gi", "100m", "-3e-9", "12345678901234567890n", "0.000000001E"]),
        "json_patch" => bytes(&[
            r#"[{"op":"add","path":"/spec/containers/-","value":1},{"op":"move","from":"/spec","path":"/metadata/x~1y"},{"op":"test","path":"/kind","value":"Pod"}]"#,
            r#"[{"op":"copy","from":"","path":"/spec/containers/0/env/1"},{"op":"remove","path":"/metadata/labels/a"}]"#,
        ]),
        "merge_patch" => bytes(&[r#"{"metadata":{"labels":null,"x":{"y":null}},"spec":{"containers":[{}]}}"#]),
        "strategic_patch" => bytes(&[
            r#"{"spec":{"containers":[{"name":"one","$patch":"delete"},{"name":"new"}],"$setElementOrder/containers":[{"name":"two"}]}}"#,
            r#"{"metadata":{"$deleteFromPrimitiveList/finalizers":["x/y"],"labels":{"$patch":"replace"}},"spec":{"$retainKeys":["a"]}}"#,
        ]),
        "apply" => bytes(&[
            &pod.to_string(),
            r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","managedFields":[]},"spec":{"containers":[{"name":"one"}]}}"#,
        ]),
        "continue_token" => bytes(&["eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiJhXHUwMDAwIn0", "e30"]),
        "json_path" => bytes(&[".spec.containers[0].name", "$.a[*]['b'][?(@.c==\"d\")].e", "{.x[-1]}", ".a[?(@.b=='c')]"]),
        "jwt" => bytes(&[
            "eyJhbGciOiJFUzI1NiIsImtpZCI6IiJ9.eyJpc3MiOiJodHRwczovL2lzc3VlciIsImV4cCI6OTk5OTk5OTk5OX0.AAAA",
            "a.b.c",
            "eyJhbGciOiJub25lIn0.e30.",
        ]),
        _ => bytes(&[
            "/api/v1/namespaces/a/pods/b%2Fc/log?follow=1&limit=%zz\napplication/json;as=Table;v=v1;g=meta.k8s.io;q=0.1",
            "/apis/x/v1/watch/namespaces//y?watch&fieldSelector=metadata.name%3Da\n*/*, application/yaml;q=2",
            "/api/v1/nodes/n/proxy//a/../b/",
        ]),
    }
}

/// A few changes of the kinds that break parsers.
fn mutated(seed: &[u8], random: &mut StdRng) -> Vec<u8> {
    let mut out = seed.to_vec();
    for _ in 0..random.random_range(1..6) {
        let at = if out.is_empty() { 0 } else { random.random_range(0..out.len()) };
        match random.random_range(0..7) {
            0 if !out.is_empty() => out[at] = random.random(),
            1 => out.insert(at, *b"{}[]\":,\\/~$*&%=.()-0\0\xff\n ".get(random.random_range(0..25)).unwrap_or(&b'x')),
            2 if !out.is_empty() => drop(out.remove(at)),
            3 => out.truncate(at),
            // A piece of itself, elsewhere.
            4 => {
                let end = (at + random.random_range(0..40)).min(out.len());
                let piece = out[at..end].to_vec();
                let to = random.random_range(0..=out.len());
                out.splice(to..to, piece);
            }
            5 => {
                let count = random.random_range(1..200);
                let byte = out.get(at).copied().unwrap_or(b'[');
                out.splice(at..at, std::iter::repeat_n(byte, count));
            }
            _ => {
                let values = [json!(null), json!(-1), json!(1_u64 << 63), json!("é\u{0}"), json!([]), json!({}), json!(1e308)];
                let end = (at + random.random_range(0..8)).min(out.len());
                out.splice(at..end, values[random.random_range(0..values.len())].to_string().into_bytes());
            }
        }
    }
    out
}

#[test]
fn no_bytes_break_what_reads_them() {
    let mut random = StdRng::seed_from_u64(36);
    for (name, target) in TARGETS {
        for seed in seeds(name) {
            target(&seed);
            for _ in 0..ROUNDS {
                let mut bytes = mutated(&seed, &mut random);
                // Some go further from where they began.
                while random.random_bool(0.3) {
                    bytes = mutated(&bytes, &mut random);
                }
                let tried = std::panic::catch_unwind(|| target(&bytes));
                assert!(tried.is_ok(), "{name} breaks on {:?}", String::from_utf8_lossy(&bytes));
            }
        }
        let mut noise = vec![0; 64];
        for _ in 0..ROUNDS {
            random.fill_bytes(&mut noise);
            let length = random.random_range(0..noise.len());
            target(&noise[..length]);
        }
    }
}
