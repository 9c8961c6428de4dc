//! An address that answers nothing: it neither accepts nor refuses connections, as behind a firewall that drops what comes.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpStream},
    time::Duration,
};

use socket2::{Domain, Socket, Type};

/// Such an address, for as long as it is held.
pub struct Blackhole {
    address: SocketAddr,
    _listening: Socket,
    /// They fill the queue of those that wait to be accepted: the kernel drops the first packet of every other one.
    _waiting: Vec<TcpStream>,
}

impl Blackhole {
    /// A free port of the loopback interface.
    pub fn open() -> Self {
        let listening = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        listening.bind(&any.into()).expect("a free port");
        listening.listen(0).expect("a socket that can listen");
        let address = listening.local_addr().expect("bound").as_socket();
        let address = address.expect("an address of IP");
        let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(100));
        let waiting = std::iter::from_fn(|| connect().ok()).take(16).collect();
        Self {
            address,
            _listening: listening,
            _waiting: waiting,
        }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}
