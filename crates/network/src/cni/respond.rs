//! What the runtime is told: results and errors in the form of the specification.

use super::CniError;
use super::attach::Attachment;
use super::request::{Request, SUPPORTED};
use crate::netlink::route::mac_text;
use serde_json::{Value, json};

/// The newest version there is a result form for; errors go out in it when the input names none.
const NEWEST: &str = "1.0.0";

/// The version of the input, as far as it can be made out.
pub fn version_of(input: &[u8]) -> String {
    let document: Option<Value> = serde_json::from_slice(input).ok();
    let version = document.as_ref().and_then(|d| d.get("cniVersion")?.as_str());
    version.unwrap_or(NEWEST).to_string()
}

pub fn versions(asked: String) -> String {
    json!({ "cniVersion": asked, "supportedVersions": SUPPORTED }).to_string()
}

pub fn failure(version: String, error: &CniError) -> String {
    json!({ "cniVersion": version, "code": error.code(), "msg": error.to_string() }).to_string()
}

pub fn loopback(version: String) -> String {
    let mut ip = json!({ "interface": 0, "address": "127.0.0.1/8" });
    if version.starts_with("0.") {
        ip["version"] = json!("4");
    }
    json!({ "cniVersion": version, "interfaces": [{ "name": "lo", "mac": "00:00:00:00:00:00" }], "ips": [ip], "dns": {} }).to_string()
}

pub fn success(request: &Request, attachment: &Attachment) -> String {
    let namespace = request.namespace.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
    let mut ip = json!({
        "interface": 2,
        "address": format!("{}/32", attachment.address),
        "gateway": attachment.gateway,
    });
    // Before 1.0.0 an address said which family it is of.
    if request.version.starts_with("0.") {
        ip["version"] = json!("4");
    }
    let interface = |name: &str, mac: Option<_>, sandbox: &str| {
        let mut interface = json!({ "name": name, "mac": mac.map(mac_text).unwrap_or_default() });
        if !sandbox.is_empty() {
            interface["sandbox"] = json!(sandbox);
        }
        interface
    };
    json!({
        "cniVersion": request.version,
        "interfaces": [
            interface(&request.network.bridge, attachment.bridge_mac, ""),
            interface(&attachment.host_link, attachment.host_mac, ""),
            interface(&request.interface, Some(attachment.pod_mac), &namespace),
        ],
        "ips": [ip],
        "routes": [
            { "dst": format!("{}/32", attachment.gateway) },
            { "dst": "0.0.0.0/0", "gw": attachment.gateway },
        ],
        "dns": {},
    })
    .to_string()
}
