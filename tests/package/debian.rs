//! The symbols file of the Debian package agrees with the exported symbols.

use crate::support::Result;
use common::{assert_golden, root};
use libtest_mimic::Trial;
use std::fs;

pub fn trial() -> Trial {
    Trial::test(
        "golden: libunixipc0.symbols has the symbols of unixipc.map",
        || {
            let map = fs::read_to_string(root().join("packaging/unixipc.map"))?;
            let file = root().join("packaging/debian/libunixipc0.symbols");
            assert_golden(&file, &symbols(&map)?)
        },
    )
}

/// The symbols with the version of the package that first had them.
fn symbols(map: &str) -> Result<String> {
    let mut made = String::from(
        "libunixipc.so.0 libunixipc0 #MINVER#\n* Build-Depends-Package: libunixipc-dev\n",
    );
    let mut node = "";
    for line in map.lines() {
        if let Some(name) = line.strip_suffix(" {") {
            node = name;
            made += &line_for(node, node)?;
            continue;
        }
        let symbol = line.trim().strip_suffix(';');
        if let Some(symbol) = symbol.filter(|symbol| symbol.starts_with("ipc_")) {
            made += &line_for(symbol, node)?;
        }
    }
    Ok(made)
}

/// UNIXIPC_0.1 is the block of version 0.1.0.
fn line_for(symbol: &str, node: &str) -> Result<String> {
    let minor = node
        .strip_prefix("UNIXIPC_")
        .ok_or("a symbol outside a block")?;
    Ok(format!(" {symbol}@{node} {minor}.0\n"))
}
