//! Kubernetes' functions, in tables.

use cel::{Budget, Environment, Type, Variables};
use serde_json::{Value as Json, json};

fn value(expression: &str) -> Result<Json, String> {
    let environment = Environment::new().with_object(Type::json_patch()).with_open_object("Object");
    let program = environment.compile(expression).map_err(|e| e.to_string())?;
    let value = program.evaluate(&Variables::new(), &mut Budget::new()).map_err(|e| e.to_string())?;
    value.to_json().map_err(|e| e.to_string())
}

fn all_true(expressions: &[&str]) {
    for expression in expressions {
        assert_eq!(value(expression), Ok(json!(true)), "{expression}");
    }
}

fn fail(table: &[(&str, &str)]) {
    for (expression, wanted) in table {
        let error = value(expression).expect_err(expression);
        assert!(error.contains(wanted), "{expression}: {error}");
    }
}

#[test]
fn strings() {
    all_true(&[
        "'hello'.charAt(1) == 'e' && 'hello'.charAt(5) == ''",
        "'hello mellow'.indexOf('ello', 2) == 7 && 'hello'.indexOf('x') == -1 && 'äbc'.indexOf('c') == 2",
        "'hello mellow'.lastIndexOf('ello') == 7 && 'hello mellow'.lastIndexOf('ello', 6) == 1",
        "['a', 'b'].join('-') == 'a-b' && ['a', 'b'].join() == 'ab'",
        "'TacoCat'.lowerAscii() == 'tacocat' && 'a'.upperAscii() == 'A' && ' x '.trim() == 'x'",
        "'hello hello'.replace('he', 'we') == 'wello wello' && 'hello hello'.replace('he', 'we', 1) == 'wello hello'",
        "'a,b,c'.split(',') == ['a', 'b', 'c'] && 'a,b,c'.split(',', 2) == ['a', 'b,c'] && 'abc'.split('') == ['a', 'b', 'c']",
        "'tacocat'.substring(4) == 'cat' && 'tacocat'.substring(0, 4) == 'taco'",
        "'%s is %d, %.2f, %x, %b, %o'.format(['a', 5, 1.5, 255, 5, 8]) == 'a is 5, 1.50, ff, 101, 10'",
        "'%s %s'.format([[1, 'b'], {'k': true}]) == '[1, \"b\"] {\"k\": true}'",
        "'100%%'.format([]) == '100%'",
        "strings.quote('a\"b\\n') == '\"a\\\\\"b\\\\n\"'",
        "'abc 123'.find('[0-9]+') == '123' && 'abc'.find('[0-9]+') == ''",
        "'1 2 3'.findAll('[0-9]') == ['1', '2', '3'] && '1 2 3'.findAll('[0-9]', 2) == ['1', '2']",
        "jsonpatch.escapeKey('k8s.io/my~label') == 'k8s.io~1my~0label'",
    ]);
    fail(&[
        ("'abc'.charAt(9)", "index out of range: 9"),
        ("'abc'.substring(2, 1)", "invalid substring range"),
        ("'%d'.format(['a'])", "decimal clause can only be used on integers"),
        ("'%s'.format([])", "index 0 out of range"),
    ]);
}

#[test]
fn lists_and_sets() {
    all_true(&[
        "[1, 2, 3].isSorted() && !['b', 'a'].isSorted() && [1, 2].sum() == 3 && [1.5, 0.5].sum() == 2.0",
        "[3, 1, 2].min() == 1 && [3, 1, 2].max() == 3 && [].sum() == 0",
        "[1, 2, 2].indexOf(2) == 1 && [1, 2, 2].lastIndexOf(2) == 2 && ['a'].indexOf('b') == -1",
        "sets.contains([1, 2], [2]) && !sets.contains([1], [2]) && sets.equivalent([1, 1, 2], [2, 1]) && sets.intersects([1], [1, 2])",
        "[1, 2, 3, 4].slice(1, 3) == [2, 3] && [[1], [2, 3]].flatten() == [1, 2, 3]",
        "[3, 1, 2].sort() == [1, 2, 3] && [1, 2, 1].distinct() == [1, 2] && [1, 2].reverse() == [2, 1]",
        "lists.range(3) == [0, 1, 2] && ['bb', 'a'].sortBy(e, e.size()) == ['a', 'bb']",
    ]);
    fail(&[("[].min()", "min called on empty list"), ("[1].slice(0, 2)", "list is length 1"), ("lists.range(100000000)", "is more than")]);
}

#[test]
fn addresses_urls_quantities_versions_and_formats() {
    all_true(&[
        "isIP('10.0.0.1') && !isIP('10.0.0.256') && ip('::1').isLoopback() && ip('10.0.0.1').family() == 4",
        "ip.isCanonical('2001:db8::1') && !ip.isCanonical('2001:DB8::1') && string(ip('10.0.0.1')) == '10.0.0.1'",
        "ip('8.8.8.8').isGlobalUnicast() && ip('169.254.0.1').isLinkLocalUnicast() && ip('0.0.0.0').isUnspecified()",
        "cidr('10.0.0.0/8').containsIP('10.1.2.3') && cidr('10.0.0.0/8').containsCIDR(cidr('10.1.0.0/16'))",
        "cidr('10.1.2.3/8').masked() == cidr('10.0.0.0/8') && cidr('10.0.0.0/8').prefixLength() == 8 && cidr('10.0.0.0/8').ip() == ip('10.0.0.0')",
        "isCIDR('::/0') && !isCIDR('10.0.0.1')",
        "url('https://user@example.com:80/a%20b?k=v&k=w#f').getHost() == 'example.com:80'",
        "url('https://example.com:80/').getHostname() == 'example.com' && url('https://example.com:80/').getPort() == '80'",
        "url('https://x/?k=v&k=w').getQuery() == {'k': ['v', 'w']} && url('/a b').getEscapedPath() == '/a%20b'",
        "isURL('https://x') && isURL('/path') && !isURL('../x') && url('https://x').getScheme() == 'https'",
        "quantity('1Ki') == quantity('1024') && quantity('500m').isLessThan(quantity('1')) && quantity('2').compareTo(quantity('1')) == 1",
        "quantity('1').add(quantity('1')).sub(1) == quantity('1') && isQuantity('5Gi') && !isQuantity('5x') && quantity('3').asInteger() == 3",
        "semver('1.2.3').isLessThan(semver('1.10.0')) && semver('1.2.3').major() == 1 && isSemver('v1.2', true) && !isSemver('1.2')",
        "semver('v01.2', true) == semver('1.2.0')",
        "!format.dns1123Label().validate('ok').hasValue() && format.dns1123Label().validate('Not').value().size() == 1",
        "format.named('uuid').value().validate('x').value() == ['does not match the UUID format'] && !format.named('nope').hasValue()",
        "type(ip('::1')) == net.IP && type(quantity('1')) == kubernetes.Quantity",
    ]);
    fail(&[("ip('nope')", "parse error during conversion from string"), ("quantity('x')", "quantit"), ("url('nope')", "URL parse error")]);
}

#[test]
fn objects_of_mutations() {
    assert_eq!(value("Object{spec: Object.spec{replicas: 1, ?paused: optional.none()}}"), Ok(json!({"spec": {"replicas": 1}})));
    assert_eq!(
        value("[JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('a/b'), value: 'x'}]"),
        Ok(json!([{"op": "add", "path": "/metadata/labels/a~1b", "value": "x"}]))
    );
    fail(&[("JSONPatch{nope: 1}", "undefined field 'nope'"), ("JSONPatch{op: 1}", "expected type 'string' but found 'int'")]);
}
