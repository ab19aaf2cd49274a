use proptest::prelude::*;

use super::*;

const QUESTION: &[u8] = b"\x03wWw\x07example\x00\x00\x01\x00\x01";

/// A query of `QUESTION`: flags, and what follows with its count.
fn query(flags: [u8; 2], additional: &[u8]) -> Vec<u8> {
    let count = u8::from(!additional.is_empty());
    [&[7, 8, flags[0], flags[1], 0, 1, 0, 0, 0, 0, 0, count], QUESTION, additional].concat()
}

/// A record of the question's name.
fn record(kind: u8, ttl: u32, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap().to_be_bytes();
    [&[0xc0, 12, 0, kind, 0, 1], &ttl.to_be_bytes()[..], &length, data].concat()
}

fn soa(ttl: u32, minimum: u32) -> Vec<u8> {
    record(6, ttl, &[&[0; 2], &[0; 16][..], &minimum.to_be_bytes()].concat())
}

fn opt(flags: u8) -> Vec<u8> {
    vec![0, 0, 41, 16, 0, 0, 0, flags, 0, 0, 0]
}

/// What a server says to the id 0x1234.
fn message(flags: [u8; 2], sections: [&[Vec<u8>]; 3]) -> Vec<u8> {
    let mut out = vec![0x12, 0x34, flags[0], flags[1], 0, 1];
    sections.iter().for_each(|section| out.extend([0, u8::try_from(section.len()).unwrap()]));
    out.extend(QUESTION);
    sections.iter().flat_map(|section| section.iter()).for_each(|record| out.extend(record));
    out
}

fn asked() -> Asked {
    Asked::read(&query([1, 0], &[])).unwrap()
}

fn answer(message: &[u8]) -> Option<Answer> {
    Answer::read(message, 0x1234, &asked())
}

fn lasts(sections: [&[Vec<u8>]; 3], rcode: u8) -> Option<u64> {
    answer(&message([0x81, 0x80 | rcode], sections)).unwrap().lasts().map(|lasts| lasts.as_secs())
}

#[test]
fn what_goes_out_of_a_query() {
    let cookie = [&opt(0x80)[..9], &[0, 12, 0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8]].concat();
    let asked = Asked::read(&query([1, 0x20], &cookie)).unwrap();
    let sent = asked.query(0xabcd, true);
    assert_eq!(sent[..HEADER], [0xab, 0xcd, 1, 0x20, 0, 1, 0, 0, 0, 0, 0, 1]);
    assert_eq!(sent[HEADER..HEADER + QUESTION.len()], *QUESTION);
    assert_eq!(sent[HEADER + QUESTION.len()..], [0, 0, 41, 4, 0xd0, 0, 0, 0x80, 0, 0, 0], "no cookie");
    assert_eq!(asked.query(1, false)[11], 0);
    assert!(!Asked::read(&query([1, 0], &[])).unwrap().has_edns());
    for bad in [query([0x80, 0], &[]), query([0x28, 0], &[]), query([1, 0], &[0]), vec![0; 11], vec![0; 12]] {
        assert_eq!(Asked::read(&bad), None, "{bad:?}");
    }
}

#[test]
fn same_questions_have_one_key() {
    let key = |query: &[u8]| {
        let mut key = Vec::new();
        Asked::read(query).unwrap().key(&mut key);
        key
    };
    let plain = key(&query([1, 0], &[]));
    assert_eq!(plain, key(&query([1, 0], &opt(0))));
    let mut lower = query([1, 0], &[]);
    lower.make_ascii_lowercase();
    assert_eq!(plain, key(&lower));
    let others =
        [query([0, 0], &[]), query([1, 0x10], &[]), query([1, 0x20], &[]), query([1, 0], &opt(0x80))];
    let mut keys: Vec<_> = others.iter().map(|other| key(other)).chain([plain]).collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 5);
}

#[test]
fn only_answers_to_the_question_count() {
    let good = message([0x81, 0x80], [&[record(1, 60, &[192, 0, 2, 1])], &[], &[]]);
    assert!(answer(&good).is_some());
    let with = |change: fn(&mut Vec<u8>)| {
        let mut changed = good.clone();
        change(&mut changed);
        answer(&changed)
    };
    assert!(with(|all| all[0] = 0).is_none(), "another id");
    assert!(with(|all| all[2] = 1).is_none(), "a query");
    assert!(with(|all| all[2] |= 0x10).is_none(), "another operation");
    assert!(with(|all| all[13] = b'x').is_none(), "another name");
    assert!(with(|all| all[26] = 28).is_none(), "another type");
    assert!(with(|all| all.truncate(all.len() - 1)).is_none(), "cut short");
    assert!(with(|all| all.make_ascii_uppercase()).is_some(), "another case");
    assert!(with(|all| all[5] = 0).is_none(), "no question");
    let bare = [0x12, 0x34, 0x81, 0x85, 0, 0, 0, 0, 0, 0, 0, 0];
    let refusal = answer(&bare).unwrap();
    assert_eq!(refusal.rcode(), rcode::REFUSED);
    assert_eq!(refusal.render(&asked(), 0, 512)[HEADER..], *QUESTION);
}

#[test]
fn times_to_live() {
    let a = |ttl| record(1, ttl, &[192, 0, 2, 1]);
    assert_eq!(lasts([&[a(60), a(30)], &[], &[]], 0), Some(30));
    assert_eq!(lasts([&[a(60), a(0)], &[], &[]], 0), None);
    assert_eq!(lasts([&[a(60)], &[], &[a(5), opt(0)]], 0), Some(5), "an OPT record has none");
    assert_eq!(lasts([&[a(0x8000_0001)], &[], &[]], 0), None, "RFC 2181");
    assert_eq!(lasts([&[], &[], &[]], 0), None, "nothing says how long");
    assert_eq!(lasts([&[], &[soa(300, 20)], &[]], 0), Some(20), "RFC 2308");
    assert_eq!(lasts([&[], &[soa(10, 20)], &[]], 3), Some(10));
    assert_eq!(lasts([&[record(5, 60, &[0])], &[soa(300, 20)], &[]], 0), Some(20), "an alias of nothing");
    assert_eq!(lasts([&[a(60)], &[], &[]], 2), None, "a failure");
    let cut = answer(&message([0x83, 0x80], [&[a(60)], &[], &[]])).unwrap();
    assert_eq!((cut.lasts(), cut.is_truncated()), (None, true));
}

#[test]
fn answers_age_and_fit_the_asker() {
    let records: Vec<_> = (0..40).map(|number| record(1, 60, &[192, 0, 2, number])).collect();
    let told = answer(&message([0x80, 0x80], [&records, &[], &[opt(0x80)]])).unwrap();
    let loud = Asked::read(&query([1, 0x10], &opt(0x80))).unwrap();
    let whole = told.render(&loud, 59, 4096);
    assert_eq!(whole[..HEADER], [7, 8, 0x81, 0x90, 0, 1, 0, 40, 0, 0, 0, 1], "id, RD and CD are the asker's");
    assert_eq!(whole[HEADER..HEADER + QUESTION.len()], *QUESTION);
    assert_eq!(whole[HEADER + QUESTION.len() + 6..][..4], [0, 0, 0, 1], "59 seconds old");
    assert_eq!(whole[whole.len() - 11..], [0, 0, 41, 4, 0xd0, 0, 0, 0x80, 0, 0, 0]);
    let cut = told.render(&asked(), 61, 512);
    assert_eq!(cut.len(), 12 + 17 + 30 * 16);
    assert_eq!(cut[..HEADER], [7, 8, 0x83, 0x80, 0, 1, 0, 30, 0, 0, 0, 0], "cut, and without OPT");
    assert_eq!(cut[HEADER + QUESTION.len() + 6..][..4], [0; 4]);
    let more = answer(&message([0x80, 0x80], [&records[..2], &[], &records[2..]])).unwrap();
    assert_eq!(more.render(&asked(), 0, 512)[2] & TRUNCATED, 0, "only additional records are missing");
    assert_eq!(told.render(&loud, 0, 30).len(), 12 + 17 + 11, "never none at all");
}

#[test]
fn upper_bits_of_the_return_code() {
    let mut extended = opt(0);
    extended[5] = 1;
    let told = answer(&message([0x80, 0x80], [&[], &[], &[extended]])).unwrap();
    let loud = Asked::read(&query([1, 0], &opt(0))).unwrap();
    let out = told.render(&loud, 0, 512);
    assert_eq!(out[out.len() - 6], 1);
}

proptest! {
    #[test]
    fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0_usize..200, age: u32, limit in 0_usize..600) {
        Asked::read(&bytes);
        answer(&bytes);
        // Most random bytes are no message: so also bytes behind the beginning of one.
        let mut like = message([0x81, 0x80], [&[record(1, 60, &[192, 0, 2, 1])], &[soa(1, 1)], &[opt(0)]]);
        like.truncate(cut.max(HEADER));
        like.extend(&bytes);
        if let Some(answer) = answer(&like) {
            let out = answer.render(&asked(), age, limit);
            prop_assert!(out.len() <= limit.max(HEADER + QUESTION.len()));
            prop_assert!(Answer::read(&out, 0x0708, &asked()).is_some(), "what goes out can be read");
        }
        let mut damaged = message([0x81, 0x80], [&[record(1, 60, &[192, 0, 2, 1])], &[soa(1, 1)], &[opt(0)]]);
        let at = cut % damaged.len();
        damaged[at] = bytes.first().copied().unwrap_or_default();
        if let Some(answer) = answer(&damaged) {
            answer.render(&asked(), age, limit);
        }
    }
}
