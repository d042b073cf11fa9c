//! What can be done with a kind, as both versions of OpenAPI list it.

use kinds::{Kind, Subresource};

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";
const SCALE: &str = "io.k8s.api.autoscaling.v1.Scale";

pub type Gvk = (String, String, String);

pub struct Operation {
    pub path: String,
    /// `get`, `post`, ...
    pub method: &'static str,
    pub id: String,
    pub description: String,
    pub action: &'static str,
    pub gvk: Gvk,
    /// `apps_v1`
    pub tag: String,
    /// Parameters of the query.
    pub query: &'static [&'static str],
    /// The definition of the body.
    pub body: Option<String>,
    /// Codes, and the definition of what is answered with them; none is a plain string.
    pub codes: &'static [u16],
    pub answer: Option<String>,
}

impl Operation {
    pub fn is_patch(&self) -> bool {
        self.method == "patch"
    }

    /// Parameters that the path has, in its order.
    pub fn path_parameters(&self) -> impl Iterator<Item = &str> {
        self.path.split('/').filter_map(|p| p.strip_prefix('{')?.strip_suffix('}'))
    }
}

/// A parameter: name, type and what it is for.
pub const PARAMETERS: &[(&str, &str, &str)] = &[
    ("allowWatchBookmarks", "boolean", "Ask for BOOKMARK events, which tell how far a watch has come."),
    ("command", "string", "What to run, word by word."),
    ("container", "string", "Which container; the only one where there is one."),
    ("continue", "string", "The token of the previous chunk of a list."),
    ("dryRun", "string", "With `All`, everything is done but for keeping the result."),
    ("fieldManager", "string", "The name of whoever makes this change. Needed for apply requests."),
    ("fieldSelector", "string", "Restrict to objects whose fields have these values."),
    ("fieldValidation", "string", "What to do about unknown and duplicate fields: `Ignore`, `Warn` (the default) or `Strict`."),
    ("follow", "boolean", "Go on with what is written later."),
    ("force", "boolean", "Take fields from those who own them. Only for apply requests."),
    ("gracePeriodSeconds", "integer", "How long the object has to end by itself. Zero deletes at once."),
    ("insecureSkipTLSVerifyBackend", "boolean", "Do not check the certificate of the node that has the log."),
    ("labelSelector", "string", "Restrict to objects with these labels."),
    ("limit", "integer", "The most items to answer with; the rest is had with `continue`."),
    ("limitBytes", "integer", "The most bytes to answer with."),
    ("name", "string", "The name of the object."),
    ("namespace", "string", "The namespace of the object."),
    ("orphanDependents", "boolean", "Deprecated, see `propagationPolicy`."),
    ("path", "string", "What to ask for behind the proxy."),
    ("ports", "integer", "The ports to forward."),
    ("pretty", "string", "Whether to write the answer for people to read."),
    ("previous", "boolean", "The log of the container before its last restart."),
    ("propagationPolicy", "string", "What becomes of dependents: `Orphan`, `Background` or `Foreground`."),
    ("resourceVersion", "string", "What state to answer from, or where to watch from."),
    ("resourceVersionMatch", "string", "How `resourceVersion` is meant: `Exact` or `NotOlderThan`."),
    ("sendInitialEvents", "boolean", "Begin a watch with what is there."),
    ("sinceSeconds", "integer", "Only what was written in the last so many seconds."),
    ("stderr", "boolean", "Whether standard error is wanted."),
    ("stdin", "boolean", "Whether standard input is given."),
    ("stdout", "boolean", "Whether standard output is wanted."),
    ("stream", "string", "Which output: `All`, `Stdout` or `Stderr`."),
    ("tailLines", "integer", "Only so many lines from the end."),
    ("timeoutSeconds", "integer", "How long the call may last."),
    ("timestamps", "boolean", "Begin each line with when it was written."),
    ("tty", "boolean", "Whether there is a terminal."),
    ("watch", "boolean", "Be told of changes rather than given a list."),
];

const LIST: &[&str] = &[
    "allowWatchBookmarks",
    "continue",
    "fieldSelector",
    "labelSelector",
    "limit",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "timeoutSeconds",
    "watch",
];
const WRITE: &[&str] = &["dryRun", "fieldManager", "fieldValidation"];
const PATCH: &[&str] = &["dryRun", "fieldManager", "fieldValidation", "force"];
const DELETE: &[&str] = &["dryRun", "gracePeriodSeconds", "orphanDependents", "propagationPolicy"];
const LOG: &[&str] =
    &["container", "follow", "insecureSkipTLSVerifyBackend", "limitBytes", "previous", "sinceSeconds", "stream", "tailLines", "timestamps"];
const ATTACH: &[&str] = &["container", "stderr", "stdin", "stdout", "tty"];
const EXEC: &[&str] = &["command", "container", "stderr", "stdin", "stdout", "tty"];
const PORTS: &[&str] = &["ports"];
const DELETE_COLLECTION: &[&str] = &[
    "continue",
    "dryRun",
    "fieldSelector",
    "gracePeriodSeconds",
    "labelSelector",
    "limit",
    "orphanDependents",
    "propagationPolicy",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "timeoutSeconds",
];

/// `/apis/apps/v1`
pub fn base(group: &str, version: &str) -> String {
    if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") }
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// `AppsV1`, as names of operations have it.
fn camel(group: &str, version: &str) -> String {
    let group = if group.is_empty() { "core" } else { group.strip_suffix(".k8s.io").unwrap_or(group) };
    let words: String = group.split(['.', '-']).map(capital).collect();
    words + &capital(version)
}

struct Of<'a> {
    kind: &'a dyn Kind,
    base: String,
    id: String,
    tag: String,
}

impl Of<'_> {
    fn gvk(&self) -> Gvk {
        let names = self.kind.names();
        (names.group.to_string(), names.version.to_string(), names.kind.to_string())
    }

    /// `all`: in every namespace.
    fn collection(&self, all: bool) -> String {
        let names = self.kind.names();
        match names.namespaced() && !all {
            true => format!("{}/namespaces/{{namespace}}/{}", self.base, names.plural),
            false => format!("{}/{}", self.base, names.plural),
        }
    }

    fn item(&self) -> String {
        format!("{}/{{name}}", self.collection(false))
    }

    fn operation(&self, path: String, method: &'static str, verb: &str, tail: &str, action: &'static str) -> Operation {
        let names = self.kind.names();
        let scope = if names.namespaced() && path.contains("{namespace}") { "Namespaced" } else { "" };
        let definition = self.kind.definition();
        Operation {
            path,
            method,
            id: format!("{verb}{}{}{scope}{}{tail}", self.id, if action == "deletecollection" { "Collection" } else { "" }, names.kind),
            description: format!("{verb} {} {}", if action == "list" { "objects of kind" } else { "an object of kind" }, names.kind),
            action,
            gvk: self.gvk(),
            tag: self.tag.clone(),
            query: &[],
            body: None,
            codes: &[200],
            answer: (!definition.is_empty()).then(|| definition.to_string()),
        }
    }

    fn main(&self, out: &mut Vec<Operation>) {
        let verbs = self.kind.verbs();
        let has = |verb: &str| verbs.contains(&verb);
        let definition = || Some(self.kind.definition().to_string()).filter(|d| !d.is_empty());
        let list = || definition().map(|d| format!("{d}List"));
        let status = || Some(format!("{META}.Status"));
        let options = || Some(format!("{META}.DeleteOptions"));
        let on = |path: String, method, verb: &str, action| self.operation(path, method, verb, "", action);
        if has("list") {
            out.push(Operation { query: LIST, answer: list(), ..on(self.collection(false), "get", "list", "list") });
            if self.kind.names().namespaced() {
                let all = self.operation(self.collection(true), "get", "list", "ForAllNamespaces", "list");
                out.push(Operation { query: LIST, answer: list(), ..all });
            }
        }
        if has("create") {
            out.push(Operation {
                query: WRITE,
                body: definition(),
                codes: &[200, 201, 202],
                ..on(self.collection(false), "post", "create", "post")
            });
        }
        if has("deletecollection") {
            let delete = on(self.collection(false), "delete", "delete", "deletecollection");
            out.push(Operation { query: DELETE_COLLECTION, body: options(), answer: status(), ..delete });
        }
        if has("get") {
            out.push(on(self.item(), "get", "read", "get"));
        }
        if has("update") {
            out.push(Operation { query: WRITE, body: definition(), codes: &[200, 201], ..on(self.item(), "put", "replace", "put") });
        }
        if has("patch") {
            out.push(Operation {
                query: PATCH,
                body: Some(format!("{META}.Patch")),
                codes: &[200, 201],
                ..on(self.item(), "patch", "patch", "patch")
            });
        }
        if has("delete") {
            let delete = on(self.item(), "delete", "delete", "delete");
            out.push(Operation { query: DELETE, body: options(), answer: status(), codes: &[200, 202], ..delete });
        }
    }

    fn part(&self, subresource: &Subresource, definition_of: &dyn Fn(&Gvk) -> Option<String>, out: &mut Vec<Operation>) {
        let name = subresource.name();
        let tail: String = {
            let mut chars = name.chars();
            chars.next().map_or_else(String::new, |c| c.to_uppercase().chain(chars).collect())
        };
        let path = format!("{}/{name}", self.item());
        let on = |method, verb: &str, action| self.operation(path.clone(), method, verb, &tail, action);
        let mut change = |gvk: Gvk, definition: Option<String>| {
            let with = |o: Operation| Operation { gvk: gvk.clone(), answer: definition.clone(), ..o };
            out.push(with(on("get", "read", "get")));
            out.push(Operation { query: WRITE, body: definition.clone(), codes: &[200, 201], ..with(on("put", "replace", "put")) });
            out.push(Operation {
                query: PATCH,
                body: Some(format!("{META}.Patch")),
                codes: &[200, 201],
                ..with(on("patch", "patch", "patch"))
            });
        };
        // What has no version of its own is of this kind's.
        let owned = |(g, v, k): (&str, &str, &str)| {
            let own = self.gvk();
            if v.is_empty() { (own.0, own.1, k.to_string()) } else { (g.to_string(), v.to_string(), k.to_string()) }
        };
        match subresource {
            Subresource::Status | Subresource::Update { .. } => {
                change(self.gvk(), Some(self.kind.definition().to_string()).filter(|d| !d.is_empty()));
            }
            Subresource::Scale(_) => change(owned(("autoscaling", "v1", "Scale")), Some(SCALE.into())),
            Subresource::Create { kind, .. } => {
                let gvk = owned(*kind);
                let definition = definition_of(&gvk);
                let create = on("post", "create", "post");
                out.push(Operation { query: WRITE, body: definition.clone(), answer: definition, codes: &[200, 201, 202], gvk, ..create });
            }
            Subresource::Connect { kind, verbs, .. } => {
                let gvk = owned(*kind);
                let definition = definition_of(&gvk).filter(|_| gvk != self.gvk());
                // A body makes it an ordinary create; logs are read; anything else is a stream.
                if *verbs == ["get"] && gvk == self.gvk() {
                    out.push(Operation { answer: None, query: LOG, ..on("get", "read", "get") });
                    return;
                }
                let proxied = verbs.len() > 2;
                let verbs: &[&str] = if proxied { &["create", "delete", "get", "head", "options", "patch", "update"] } else { verbs };
                for verb in verbs {
                    let method = match *verb {
                        "create" => "post",
                        "update" => "put",
                        "patch" => "patch",
                        "delete" => "delete",
                        "head" => "head",
                        "options" => "options",
                        _ => "get",
                    };
                    if definition.is_some() {
                        let (body, answer) = (definition.clone(), definition.clone());
                        out.push(Operation { gvk: gvk.clone(), answer, body, query: WRITE, ..on(method, "create", method) });
                        continue;
                    }
                    let scope = if self.kind.names().namespaced() { "Namespaced" } else { "" };
                    let id = format!("connect{}{}{scope}{}{tail}", self.id, capital(method), self.kind.names().kind);
                    let query = match gvk.2.as_str() {
                        "PodAttachOptions" => ATTACH,
                        "PodExecOptions" => EXEC,
                        "PodPortForwardOptions" => PORTS,
                        _ => &["path"],
                    };
                    let connect = Operation { gvk: gvk.clone(), answer: None, query, id, ..on(method, "connect", "connect") };
                    if proxied {
                        let (path, id) = (format!("{path}/{{path}}"), format!("{}WithPath", connect.id));
                        out.push(Operation { path, id, gvk: gvk.clone(), answer: None, query, ..on(method, "connect", "connect") });
                    }
                    out.push(connect);
                }
            }
        }
    }
}

/// Every operation on a kind. `definition_of` finds the definition of another kind.
pub fn of(kind: &dyn Kind, definition_of: &dyn Fn(&Gvk) -> Option<String>) -> Vec<Operation> {
    let names = kind.names();
    let group = if names.group.is_empty() { "core" } else { names.group.strip_suffix(".k8s.io").unwrap_or(&names.group) };
    let mut words = group.split(['.', '-']);
    let of = Of {
        kind,
        base: base(&names.group, &names.version),
        id: camel(&names.group, &names.version),
        tag: format!("{}_{}", words.next().unwrap_or_default().to_string() + &words.map(capital).collect::<String>(), names.version),
    };
    let mut out = Vec::new();
    of.main(&mut out);
    for subresource in kind.subresources() {
        of.part(&subresource, definition_of, &mut out);
    }
    out
}
