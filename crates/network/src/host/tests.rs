use super::*;
use crate::lab::Host;

#[test]
fn a_host_is_prepared_twice_and_cleaned_up() {
    let Some(host) = Host::new() else { return };
    let executable = Path::new("/bin/true");
    host.namespace.run(|| prepare(&host.config, executable)).expect("a second time");
    let addresses = host.namespace.shell("ip -4 -o addr");
    assert!(addresses.contains("socle0    inet 10.42.0.1/24"), "{addresses}");
    assert!(addresses.contains("socle-dns    inet 10.43.0.10/32"), "{addresses}");
    assert!(host.namespace.shell("ip route get 10.43.0.77").contains("dev socle-dns"));
    assert_eq!(host.namespace.shell("sysctl -n net.ipv4.ip_forward").trim(), "1");
    assert_eq!(std::fs::read_link(host.config.cni_bin_dir.join(cni::PLUGIN)).unwrap(), executable);

    // Another pod CIDR: the old address goes.
    let moved = Config { pod_cidr: "10.42.7.0/24".parse().unwrap(), ..host.config.clone() };
    host.namespace.run(|| prepare(&moved, executable)).unwrap();
    let addresses = host.namespace.shell("ip -4 -o addr show dev socle0");
    assert!(addresses.contains("10.42.7.1/24") && !addresses.contains("10.42.0.1"), "{addresses}");

    host.namespace.run(|| cleanup(&host.config)).unwrap();
    host.namespace.run(|| cleanup(&host.config)).expect("nothing to clean up");
    assert_eq!(host.namespace.shell("nft list tables"), "");
    assert!(!host.namespace.shell("ip link").contains("socle"));
}

#[test]
fn pods_must_lie_within_the_cluster() {
    let config = Config { pod_cidr: "10.99.0.0/24".parse().unwrap(), ..Config::default() };
    assert!(matches!(prepare(&config, Path::new("/bin/true")), Err(HostError::Ranges(..))));
}
