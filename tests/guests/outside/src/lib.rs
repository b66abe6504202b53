//! Looks for a way out: files, environment, arguments, network.

use triggerbox::prelude::*;

fn run(_event: &Event) -> Result<String> {
    let file = std::fs::read_to_string("/etc/passwd").is_ok();
    let list = std::fs::read_dir("/").is_ok();
    let write = std::fs::write("/tmp/x", "x").is_ok();
    let environment = std::env::vars().count();
    let arguments = std::env::args().count();
    let network = std::net::TcpStream::connect("127.0.0.1:80").is_ok();
    let names = std::net::ToSocketAddrs::to_socket_addrs("localhost:80").is_ok_and(|mut found| found.next().is_some());
    Ok(format!("{file} {list} {write} {environment} {arguments} {network} {names}"))
}

triggerbox::script!(run);
