use super::*;

fn dialled(name: &str) -> Option<Destination> {
    Destination::dialled(&ServerName::try_from(name.to_owned()).unwrap())
}

#[test]
fn a_host_is_the_same_destination_however_it_is_written() {
    for (entry, name) in [
        ("orders.shop.svc", "ORDERS.shop.svc"),
        ("Orders.Shop.Svc", "orders.shop.svc."),
        ("orders.shop.svc.", "orders.shop.svc"),
        ("10.0.0.1", "10.0.0.1"),
        ("10.0.0.1", "::ffff:10.0.0.1"),
        ("[fd00::1]", "fd00:0::1"),
        ("fd00::1", "fd00::1"),
    ] {
        let entry = Destination::parse(entry).unwrap();
        assert_eq!(Some(entry), dialled(name), "{name}");
    }
    let orders = Destination::parse("orders.shop.svc").unwrap();
    for other in ["orders.shop", "orders.shop.svc.evil.example", "10.0.0.1"] {
        assert_ne!(dialled(other), Some(orders.clone()), "{other}");
    }
}

#[test]
fn what_is_no_host_alone_is_no_destination() {
    for host in [
        "",
        ".",
        "*.shop.svc",
        "https://orders.shop.svc",
        "orders.shop.svc:8443",
        "orders.shop.svc/",
        "[orders.shop.svc]",
        "[10.0.0.1]",
        "[fd00::1",
        "orders..svc",
        " orders.shop.svc",
    ] {
        let refused = Destination::parse(host).unwrap_err();
        assert!(
            matches!(&refused, ConfigError::InvalidDestination { host: told } if told == host),
            "{refused}"
        );
    }
}
