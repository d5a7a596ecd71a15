//! Archives that are not what they have to be, or can be read in two ways.

use seinhuis_verify::Code;

use super::{Beast, beast, whole};
use crate::zip::{self, Around, Member};

fn bad(name: &str, file: Vec<u8>) -> Beast {
    beast(name, Code::BadArchive, file)
}

/// With one member changed after signing.
fn with(name: &str, place: usize, change: impl FnOnce(&mut Member)) -> Beast {
    let mut members = whole().seal();
    change(&mut members[place]);
    bad(name, zip::file(&members, &Around::default()))
}

/// With the members as a whole changed after signing.
fn members(name: &str, change: impl FnOnce(&mut Vec<Member>)) -> Beast {
    let mut members = whole().seal();
    change(&mut members);
    bad(name, zip::file(&members, &Around::default()))
}

fn around(name: &str, around: &Around) -> Beast {
    bad(name, zip::file(&whole().seal(), around))
}

fn names() -> Vec<Beast> {
    let rename = |name: &str, to: &[u8]| {
        let to = to.to_vec();
        with(&format!("name: {name}"), 7, |member| {
            member.name.clone_from(&to);
            member.own_name = to;
        })
    };
    vec![
        rename("path traversal", b"../entries.csv"),
        rename("path traversal inside", b"covenants/../entries.csv"),
        rename("absolute path", b"/entries.csv"),
        rename("backslashes", b"..\\entries.csv"),
        rename("NUL", b"entries.csv\0"),
        rename("not ASCII", "entries\u{301}.csv".as_bytes()),
        rename("not UTF-8", b"entries.csv\xff"),
        rename("empty", b""),
        rename("other case", b"Entries.csv"),
        rename("a folder", b"entries.csv/"),
        rename("129 bytes", &[b'a'; 129]),
        rename("unknown", b"entries.ods"),
        rename("another member's", b"entries.jsonl"),
        with("name: of a covenant, upper case", 8, |member| {
            member.name = member.name.to_ascii_uppercase();
            member.own_name.clone_from(&member.name);
        }),
        with("name: of a covenant, one digit short", 8, |member| {
            member.name.remove(20);
            member.own_name.clone_from(&member.name);
        }),
    ]
}

fn policy(number: u8, text: &[u8]) -> Member {
    Member::stored(&format!("policies/{number:064x}.txt"), text)
}

fn order() -> Vec<Beast> {
    vec![
        members("member twice", |all| all.insert(4, all[3].clone())),
        members("first member twice", |all| all.insert(0, all[0].clone())),
        members("covenant twice", |all| all.insert(8, all[8].clone())),
        members("last member twice", |all| all.push(all.last().unwrap().clone())),
        members("member missing", |all| drop(all.remove(5))),
        members("leaves missing", |all| drop(all.remove(6))),
        members("leaves before the proof", |all| all.swap(5, 6)),
        members("signature missing", |all| drop(all.pop())),
        members("unknown member", |all| all.insert(8, Member::stored("report.htm", b"<p>"))),
        members("unknown member at the end", |all| all.push(Member::stored("report.htm", b"<p>"))),
        members("a folder", |all| all.insert(8, Member::stored("covenants/", b""))),
        members("members in another order", |all| all.swap(1, 2)),
        members("covenants in another order", |all| all.swap(8, 9)),
        members("an earlier checkpoint without its proof", |all| {
            all.insert(3, Member::stored("begin.txt", b""));
        }),
        members("the proof of an earlier checkpoint without it", |all| {
            all.insert(3, Member::stored("consistency.txt", b""));
        }),
        members("a policy after the entries", |all| all.insert(4, policy(1, b""))),
        members("a policy after an earlier checkpoint", |all| {
            all.insert(3, Member::stored("begin.txt", b""));
            all.insert(4, Member::stored("consistency.txt", b""));
            all.insert(5, policy(1, b""));
        }),
        members("policies in another order", |all| {
            all.insert(3, policy(2, b""));
            all.insert(4, policy(1, b""));
        }),
        members("a policy twice", |all| {
            all.insert(3, policy(1, b""));
            all.insert(4, policy(1, b""));
        }),
        members("a policy of no covenant", |all| all.insert(3, Member::stored("policy.txt", b""))),
        members("65 policies", |all| {
            for number in 0..65 {
                all.insert(3 + usize::from(number), policy(number, b"quorum none\n"));
            }
        }),
        members("a view before the entries", |all| all.insert(3, Member::stored("report.html", b""))),
        members("views in another order", |all| all.insert(7, Member::stored("report.html", b""))),
        members("a view twice", |all| all.insert(8, all[7].clone())),
        members("a view after the covenants", |all| all.insert(10, Member::stored("report.html", b""))),
        members("no members", Vec::clear),
        members("more members than there may be", |all| {
            for number in 0..4096 {
                let name = format!("covenants/{number:064x}.cbor");
                all.insert(all.len() - 2, Member::stored(&name, b""));
            }
        }),
    ]
}

fn headers() -> Vec<Beast> {
    vec![
        with("header: encrypted", 3, |member| member.flags |= 1),
        with("header: sizes behind the data", 3, |member| member.flags |= 8),
        with("header: strong encryption", 3, |member| member.flags |= 0x40),
        with("header: masked", 3, |member| member.flags |= 0x2000),
        with("header: another method", 3, |member| member.method = 12),
        with("header: two names", 3, |member| member.own_name = b"entries.jsonm".to_vec()),
        with("header: two names of other lengths", 3, |member| member.own_name = b"entries.json".to_vec()),
        with("header: two sizes", 3, |member| member.own_size += 1),
        with("header: comment", 3, |member| member.comment = b"hello".to_vec()),
        with("header: extra field", 3, |member| member.extra = vec![0x55, 0x54, 1, 0, 0]),
        with("header: extra field of another name", 3, |member| {
            member.extra = [&b"\x75\x70\x12\x00\x01"[..], &[0; 4], b"entries.jsonm"].concat();
        }),
        with("header: 64 bits twice", 3, |member| {
            member.large = true;
            member.extra = [&[1, 0, 16, 0][..], &[9; 16]].concat();
        }),
        with("header: 64 bits not needed", 3, |member| {
            member.extra = [&[1, 0, 16, 0][..], &[9; 16]].concat();
        }),
        with("header: extra field cut off", 3, |member| member.extra = vec![1, 0]),
        with("header: a link", 0, |member| member.outside = 0o120_777 << 16),
        with("header: a folder for DOS", 0, |member| member.outside |= 0x10),
    ]
}

fn data() -> Vec<Beast> {
    vec![
        with("data: wrong checksum", 3, |member| member.crc ^= 1),
        with("data: wrong checksum, stored", 1, |member| member.crc ^= 1),
        with("data: one bit of deflate changed", 3, |member| member.packed[40] ^= 1),
        with("data: garbage for deflate", 3, |member| member.packed = vec![0xff; 400]),
        with("data: deflate cut off", 3, |member| member.packed.truncate(member.packed.len() - 1)),
        with("data: empty for deflate", 3, |member| member.packed.clear()),
        with("data: bytes after deflate's end", 3, |member| member.packed.push(0)),
        with("data: size too small", 3, |member| {
            member.size -= 1;
            member.own_size -= 1;
        }),
        with("data: size too large", 3, |member| {
            member.size += 1;
            member.own_size += 1;
        }),
        with("data: stored with two sizes", 1, |member| {
            member.size += 1;
            member.own_size += 1;
        }),
        with("data: bytes between members", 3, |member| member.after = vec![0; 12]),
        with("data: a member between members that the directory does not have", 3, |member| {
            member.after = zip::file(&[Member::stored("hidden.txt", b"x")], &Around::default());
        }),
        with("bomb: entries", 3, |member| {
            *member = Member::deflated("entries.jsonl", &vec![b'a'; 30 << 20]);
        }),
        with("bomb: entries, with a small size", 3, |member| {
            let size = member.size;
            *member = Member::deflated("entries.jsonl", &vec![b'a'; 30 << 20]);
            (member.size, member.own_size) = (size, size);
        }),
        with("bomb: a size of 2^60", 3, |member| {
            member.large = true;
            (member.size, member.own_size) = (1 << 60, 1 << 60);
        }),
        with("overlong: manifest", 1, |member| {
            *member = Member::stored("manifest.json", &vec![b' '; (64 << 10) + 1]);
        }),
        with("overlong: readme", 0, |member| {
            *member = Member::stored("README.txt", &vec![b' '; (64 << 10) + 1]);
        }),
        with("overlong: checkpoint", 2, |member| {
            *member = Member::stored("checkpoint.txt", &vec![b'\n'; (64 << 10) + 1]);
        }),
        members("overlong: policy", |all| {
            all.insert(3, policy(1, &vec![b'#'; (64 << 10) + 1]));
        }),
        members("overlong: earlier checkpoint", |all| {
            all.insert(3, Member::stored("begin.txt", &vec![b'\n'; (64 << 10) + 1]));
            all.insert(4, Member::stored("consistency.txt", b""));
        }),
        members("overlong: its proof", |all| {
            all.insert(3, Member::stored("begin.txt", b""));
            all.insert(4, Member::stored("consistency.txt", &vec![b'\n'; (64 << 10) + 1]));
        }),
        members("bomb: workbook", |all| {
            all.insert(8, Member::deflated("entries.xlsx", &vec![0; 30 << 20]));
        }),
        with("bomb: leaves", 6, |member| *member = Member::deflated("leaves.bin", &vec![0; 30 << 20])),
        members("bomb: report", |all| {
            all.insert(8, Member::deflated("report.html", &vec![b' '; 30 << 20]));
        }),
        with("overlong: covenant", 8, |member| {
            let name = String::from_utf8(member.name.clone()).unwrap();
            *member = Member::stored(&name, &vec![0; (1 << 20) + 1]);
        }),
        with("overlong: sums", 10, |member| *member = Member::stored("SHA256SUMS", &vec![0; (1 << 20) + 1])),
    ]
}

fn ends() -> Vec<Beast> {
    let good = whole().file();
    let with = |change: fn(&mut Around)| {
        let mut around = Around::default();
        change(&mut around);
        around
    };
    vec![
        around("end: bytes before the first member", &with(|a| a.before = b"#!/bin/sh\n".to_vec())),
        around("end: bytes before the directory", &with(|a| a.between = b"0".to_vec())),
        around("end: trailing byte", &with(|a| a.after = b"\n".to_vec())),
        around(
            "end: trailing archive",
            &with(|a| {
                a.after = zip::file(&[Member::stored("other.txt", b"x")], &Around::default());
            }),
        ),
        around("end: comment", &with(|a| a.comment = b"hello".to_vec())),
        around("end: counts one more", &with(|a| a.more = 1)),
        around(
            "end: two ends with two counts",
            &with(|a| {
                a.large = true;
                a.large_more = 1;
            }),
        ),
        around(
            "end: two ends with other counts",
            &with(|a| {
                a.large = true;
                a.more = 1;
            }),
        ),
        bad("end: cut off by one byte", good[..good.len() - 1].to_vec()),
        bad("end: cut off in the middle", good[..good.len() / 2].to_vec()),
        bad("end: without its first byte", good[1..].to_vec()),
        bad("end: nothing at all", Vec::new()),
        bad("end: only an end", b"PK\x05\x06".iter().copied().chain([0; 18]).collect()),
        bad("end: no ZIP file", vec![b'a'; 5000]),
    ]
}

pub(crate) fn all() -> Vec<Beast> {
    [names(), order(), headers(), data(), ends()].into_iter().flatten().collect()
}
