//! What looks personal or secret in bytes that nobody masked: e-mail, payment card, IBAN, JWT, cloud key, phone.
//!
//! One pass over the bytes; most are left at the first look. Each kind stands in a file of its own with the checks that keep it
//! silent where there is nothing: check digits, lengths by country, known beginnings. Texts are looked at with JSON's escapes by
//! number (`\u0040`) undone and spaces that do not break as any other.

mod card;
mod cloud;
mod email;
mod iban;
mod jwt;
mod phone;
mod places;

use std::ops::Range;

use memchr::memchr3;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(super) use self::card::says_card;
use self::places::Places;

/// What something looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Detected {
    /// An e-mail address.
    Email,
    /// The number of a payment card.
    Card,
    /// An international bank account number.
    Iban,
    /// A JSON Web Token.
    Jwt,
    /// A key of a cloud or a code host, or a private key.
    CloudKey,
    /// A telephone number.
    Phone,
}

impl Detected {
    /// What it is called in sentences.
    pub fn words(self) -> &'static str {
        match self {
            Self::Email => "an e-mail address",
            Self::Card => "a payment card's number",
            Self::Iban => "a bank account's number (IBAN)",
            Self::Jwt => "a JSON Web Token",
            Self::CloudKey => "a secret key",
            Self::Phone => "a telephone number",
        }
    }

    /// What stands in its place where a line of a log held one.
    fn mark(self) -> &'static str {
        match self {
            Self::Email => "[e-mail]",
            Self::Card => "[card]",
            Self::Iban => "[iban]",
            Self::Jwt => "[jwt]",
            Self::CloudKey => "[secret key]",
            Self::Phone => "[phone]",
        }
    }
}

/// Something found, and where.
pub(super) type Found = (Detected, Range<usize>);

/// Finds everything that looks personal or secret in `text`, in order; what is found does not overlap.
pub(super) fn detect(text: &[u8], found: &mut Vec<Found>) {
    detect_by(text, found, &mut Plain::default());
}

/// As [`detect`], with memory that is used again.
pub(super) fn detect_by(text: &[u8], found: &mut Vec<Found>, plain: &mut Plain) {
    if !look(text, found) || !plain.read(text) {
        return;
    }
    look(&plain.text, found);
    for (_, range) in found.iter_mut() {
        *range = plain.origin(range.start)..plain.origin(range.end);
    }
}

/// A text without escapes by number, and where each of its bytes comes from.
#[derive(Debug, Default)]
pub(super) struct Plain {
    text: Vec<u8>,
    /// Behind each replaced stretch, where that is here and where it is in the text as it stands.
    behind: Vec<(usize, usize)>,
}

impl Plain {
    /// False where nothing has to be replaced, as in most texts.
    fn read(&mut self, text: &[u8]) -> bool {
        let (mut at, mut rest) = (0, 0);
        self.text.clear();
        self.behind.clear();
        while let Some(next) = memchr3(b'\\', 0xC2, 0xE2, &text[at..]) {
            at += next;
            let (long, letter) = match &text[at..] {
                [0xC2, 0xA0, ..] => (2, Some(' ')),
                [0xE2, 0x80, 0xAF, ..] => (3, Some(' ')),
                [b'\\', b'u', digits @ ..] => (6, digits.get(..4).and_then(escaped)),
                // A backslash that stands for itself escapes nothing behind it.
                [b'\\', b'\\', ..] => (2, None),
                _ => (1, None),
            };
            let Some(letter) = letter else {
                at = (at + if long == 6 { 2 } else { long }).min(text.len());
                continue;
            };
            self.text.extend_from_slice(&text[rest..at]);
            // A stretch begins where it stands, too: what is found may begin with it.
            self.behind.push((self.text.len(), at));
            self.text.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
            at += long;
            rest = at;
            self.behind.push((self.text.len(), at));
        }
        if self.behind.is_empty() {
            return false;
        }
        self.text.extend_from_slice(&text[rest..]);
        true
    }

    fn origin(&self, at: usize) -> usize {
        let replaced = self.behind.partition_point(|(here, _)| *here <= at);
        replaced.checked_sub(1).map_or(at, |last| self.behind[last].1 + at - self.behind[last].0)
    }
}

/// The letter that four hexadecimal digits stand for; halves of pairs come as U+FFFD.
fn escaped(digits: &[u8]) -> Option<char> {
    let unit = digits.iter().try_fold(0, |unit, digit| Some(unit * 16 + char::from(*digit).to_digit(16)?))?;
    Some(match char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER) {
        '\u{a0}' | '\u{202f}' => ' ',
        letter => letter,
    })
}

/// Finds what stands in the text as it is, and returns whether it may hold anything in place of which another letter is meant.
fn look(text: &[u8], found: &mut Vec<Found>) -> bool {
    found.clear();
    let mut places = Places::of(text);
    look_at_all(text, &mut places, found);
    places.means_others()
}

/// Looks at `places` of a text, which are in order. What is found has its beginning there, or the sign that tells it.
#[inline]
fn look_at_all(text: &[u8], places: impl Iterator<Item = usize>, found: &mut Vec<Found>) {
    let mut free = 0;
    for at in places {
        // What reaches back into something found already is part of it.
        if at >= free
            && let Some((kind, range)) = look_at(text, at).filter(|(_, range)| range.start >= free)
        {
            free = range.end;
            found.push((kind, range));
        }
    }
}

/// Looks at one place. At a digit that is not the first of its number there is nothing.
#[inline]
fn look_at(text: &[u8], at: usize) -> Option<Found> {
    match text[at] {
        b'0'..=b'9' => number(text, at),
        b'@' => email::around(text, at).map(|range| (Detected::Email, range)),
        b'+' | b'(' => phone::at(text, at).map(|range| (Detected::Phone, range)),
        b'J' if at > 0 && text[at - 1] == b'y' => jwt::around(text, at).map(|range| (Detected::Jwt, range)),
        // Countries and keys begin with two capitals; most words do not.
        b'A'..=b'Z' if text.get(at + 1).is_some_and(u8::is_ascii_uppercase) => capital(text, at),
        b'_' | b'-' | b'=' | b':' | b'"' | b' ' | b'\\' if cloud::may_be_around(text, at) => {
            cloud::around(text, at).map(|range| (Detected::CloudKey, range))
        }
        _ => None,
    }
}

/// Replaces what is found in one line of a log.
pub(super) fn redact_line(line: &[u8], found: &mut Vec<Found>) -> Vec<u8> {
    detect(line, found);
    let mut redacted = Vec::with_capacity(line.len());
    let mut rest = 0;
    for (kind, range) in found.iter() {
        redacted.extend_from_slice(&line[rest..range.start]);
        redacted.extend_from_slice(kind.mark().as_bytes());
        rest = range.end;
    }
    redacted.extend_from_slice(&line[rest..]);
    redacted
}

fn number(text: &[u8], at: usize) -> Option<Found> {
    let card = |run: usize| card::at(text, at, run).map(|range| (Detected::Card, range));
    let run = digits_at(text, at);
    if !begins_word(text, at) {
        // `1-800-555-0199`: ahead of the area stands what is dialled first.
        let trunk = at.checked_sub(2).filter(|&trunk| text[trunk..at] == *b"1-" && begins_word(text, trunk));
        let phone = || trunk.and_then(|trunk| Some((Detected::Phone, trunk..phone::at(text, at)?.end)));
        return card(run).filter(|_| card::is_named(text, at)).or_else(phone);
    }
    card(run).or_else(|| phone::at(text, at).map(|range| (Detected::Phone, range)))
}

fn capital(text: &[u8], at: usize) -> Option<Found> {
    if !begins_word(text, at) {
        return None;
    }
    let iban = iban::at(text, at).map(|range| (Detected::Iban, range));
    iban.or_else(|| cloud::at(text, at).map(|range| (Detected::CloudKey, range)))
}

/// Number of digits at `at`.
fn digits_at(text: &[u8], at: usize) -> usize {
    text[at..].iter().take_while(|byte| byte.is_ascii_digit()).count()
}

/// Whether what stands at `at` begins something: no letter, digit, point or sign of a number is ahead of it. The letter of an
/// escape, as in `\n`, is none.
fn begins_word(text: &[u8], at: usize) -> bool {
    let Some(before) = at.checked_sub(1) else { return true };
    match text[before] {
        b'.' | b'-' | b'_' | b'+' | b'#' => false,
        byte if byte.is_ascii_alphanumeric() => {
            matches!(byte, b'n' | b't' | b'r') && before > 0 && text[before - 1] == b'\\'
        }
        _ => true,
    }
}

/// Whether what ends ahead of `at` ends there: no letter or digit follows, nor a point or a sign that goes on.
fn ends_word(text: &[u8], at: usize) -> bool {
    let letter = |at: usize| text.get(at).is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    let goes_on = matches!(text.get(at), Some(b'.' | b'-')) && letter(at + 1);
    !letter(at) && !goes_on
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(Detected, &str)> {
        let mut found = Vec::new();
        detect(text.as_bytes(), &mut found);
        found.into_iter().map(|(kind, range)| (kind, &text[range])).collect()
    }

    /// Holds texts against what must be found in them, each alone, quoted, in a sentence, and behind an escape.
    fn finds(kind: Detected, texts: &[&str]) {
        for text in texts {
            for around in [("", ""), ("{\"a\":\"", "\"}"), ("call ", ", please."), ("a\\n", "\\n")] {
                let whole = format!("{}{text}{}", around.0, around.1);
                assert_eq!(found(&whole), [(kind, *text)], "{whole}");
            }
        }
    }

    fn silent(texts: &[&str]) {
        for text in texts {
            assert_eq!(found(text), [], "{text}");
            assert_eq!(found(&format!("{{\"a\":\"{text}\"}}")), [], "{text}");
        }
    }

    #[test]
    fn email_addresses_are_found() {
        finds(
            Detected::Email,
            &["jo@example.org", "j.o+shop@mail.example.co.uk", "JO_1%x@EXAMPLE.COM", "a-b@xn--mller-kva.de"],
        );
        assert_eq!(found("mailto:jo@example.org"), [(Detected::Email, "jo@example.org")]);
        silent(&[
            "@example.org",
            "jo@",
            "jo@localhost",
            "lodash@4.17.21",
            "icon@2x.png",
            "git@github.com:rust-lang/rust",
            "a @ b.com",
            "jo@-a.org",
            "jo@a..org",
            ".jo.@example",
            "https://user@example.org/",
            "jo@1.2.3.4",
            "x@y.z1",
        ]);
    }

    #[test]
    fn random_bytes_hold_no_short_addresses() {
        let found = |text: &[u8]| {
            let mut found = Vec::new();
            detect(text, &mut found);
            found.len()
        };
        for ahead in [&b"\xff\x01\x93"[..], b"\xc3\xa4\xfe", b"\x8a\x8a\x8a\x8a"] {
            let among = |address: &str| [ahead, b"/", address.as_bytes(), b"/", &[b'x'; 30]].concat();
            assert_eq!((found(&among("x@y.cc")), found(&among("ann.smith@example.org"))), (0, 1), "{ahead:?}");
            assert_eq!(found(&among("9Nim8T@3pG.gtAB")), 0, "{ahead:?}");
            let behind = [&b"x@y.cc "[..], ahead].concat();
            assert_eq!(found(&behind), 0, "{ahead:?}");
        }
        // Lengths ahead of texts, and text of any script, are none, also where the look cuts a letter.
        for text in ["\u{c}x@y.cc\u{2}", &format!("{} x@y.cc {}", "\u{e9}".repeat(40), "\u{20ac}".repeat(40))] {
            assert_eq!(found(text.as_bytes()), 1, "{text}");
        }
        // SplitMix64 makes 4 MB of them.
        let mut chance = 7_u64;
        let random: Vec<u8> = (0..1 << 19)
            .flat_map(|_| {
                chance = chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mixed = (chance ^ (chance >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb).to_le_bytes()
            })
            .collect();
        let mut all = Vec::new();
        detect(&random, &mut all);
        all.retain(|(kind, _)| *kind == Detected::Email);
        assert_eq!(all, []);
    }

    #[test]
    fn card_numbers_are_found() {
        finds(
            Detected::Card,
            &[
                "4111111111111111",
                "4111 1111 1111 1111",
                "4111-1111-1111-1111",
                "5555555555554444",
                "2223003122003222",
                "378282246310005",
                "3782 822463 10005",
                "6011111111111117",
                "30569309025904",
                "3056 930902 5904",
                "3530111333300000",
                "4222222222222",
                "6205500000000000004",
                "6759649826438453",
                "4111.1111.1111.1111",
            ],
        );
        assert_eq!(found("{\"pan\":4111111111111111}"), [(Detected::Card, "4111111111111111")]);
        silent(&[
            "4111111111111112",
            "1357035420000000",
            "1111111111111117",
            "0.4111111111111111",
            "4111111111111111.5",
            "a4111111111111111",
            "4111111111111111b",
            "-4111111111111111",
            "41111111111111111111",
            "4111 1111-1111 1111",
            "4111 11111111 1111",
            "tok_4111111111111111",
            "41111111-1111-1111-1111-111111111111",
            "4006381333931",
        ]);
    }

    #[test]
    fn ibans_are_found() {
        finds(
            Detected::Iban,
            &[
                "DE89370400440532013000",
                "DE89 3704 0044 0532 0130 00",
                "GB82WEST12345698765432",
                "NO9386011117947",
                "MT84MALT011000012345MTLCAST001S",
                "FR14 2004 1010 0505 0001 3M02 606",
            ],
        );
        silent(&[
            "DE89370400440532013001",
            "DE8937040044053201300",
            "DE893704004405320130000",
            "XX89370400440532013000",
            "UA1545",
            "EWR-IAH",
            "N14228",
            "xDE89370400440532013000",
            "AB12CD34EF56AB12CD34EF56",
        ]);
    }

    #[test]
    fn web_tokens_are_found() {
        let token = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U";
        finds(Detected::Jwt, &[token, "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.sig"]);
        // Encrypted: `{"alg":"dir","enc":"A128GCM"}`, without a key of its own and with one.
        let encrypted = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMTI4R0NNIn0";
        for key in ["", "a2V5"] {
            finds(Detected::Jwt, &[&format!("{encrypted}.{key}.aXY.dGV4dA.dGFn")]);
        }
        silent(&["eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.sig.a.b", "eyJhbGciOiJub25lIn0..sig"]);
        // `{"foo":1}` says no algorithm.
        silent(&[
            "eyJmb28iOjF9.eyJzdWIiOiIxIn0.sig",
            "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0",
            "eyJ.eyJ.x",
            "heyJude.mp3.x",
        ]);
    }

    #[test]
    fn secret_keys_are_found() {
        // Put together here, so that nobody who looks for leaked keys finds these.
        let (aws, google) =
            (["AKIA", "IOSFODNN7EXAMPLE"].concat(), ["AIza", "SyA1234567890abcdefghijklmnopqrs-_u"].concat());
        let github = [["ghp_", &"aB3".repeat(12)].concat(), ["github_pat_", &"a1B2".repeat(15)].concat()];
        let slack = ["xoxb-", "123456789012-abcdefABCDEF"].concat();
        finds(Detected::CloudKey, &[&aws, &google, &github[0], &github[1], &slack]);
        let azure = format!("DefaultEndpointsProtocol=https;AccountName=x;AccountKey={}==;a", "aB3/".repeat(21) + "ab");
        assert_eq!(found(&azure).len(), 1, "{azure}");
        let block = ["-----BEGIN RSA PRIV", "ATE KEY-----\\nMIIE\\n-----END RSA PRIVATE KEY-----"].concat();
        assert_eq!(found(&block), [(Detected::CloudKey, &*block)]);
        // What else is told by its name alone.
        let secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
        for text in [
            format!("aws_secret_access_key={secret}"),
            // As files of settings and other languages have it, and JSON within texts of JSON.
            format!("aws_secret_access_key = {secret}"),
            format!("aws_secret_access_key: {secret}"),
            format!("secretAccessKey : '{secret}'"),
            format!("secret_access_key => '{secret}'"),
            format!("{{\"log\":\"{{\\\"secretAccessKey\\\": \\\"{secret}\\\"}}\"}}"),
            format!(
                "{{\"a\":\"{{\\\"b\\\":\\\"{{\\\\\\\"aws_secret_access_key\\\\\\\":\\\\\\\"{secret}\\\\\\\"}}\\\"}}\"}}"
            ),
            format!("{{\"SecretAccessKey\": \"{secret}\"}}"),
            format!("{{\"aws_secret_access_key\":\"{secret}\",\"n\":1}}"),
            format!("AWS_SECRET_ACCESS_KEY=\"{secret}\""),
        ] {
            assert_eq!(found(&text), [(Detected::CloudKey, secret)], "{text}");
        }
        let signature = "aB3".repeat(14) + "%2BaB%3D";
        let address = format!("https://x.blob.core.windows.net/y?sv=2022-11-02&sig={signature}&se=2030");
        assert_eq!(found(&address), [(Detected::CloudKey, &*signature)]);
        let more = [
            ["glpat-", "aB3dE6gH9jK2mN5pQ8sT"].concat(),
            ["GOCSPX-", "aB3dE6gH9jK2mN5pQ8sTvW1yZ4_-"].concat(),
            ["sk_live_", "aB3dE6gH9jK2mN5pQ8sTvW1y"].concat(),
            ["rk_live_", "aB3dE6gH9jK2mN5pQ8sTvW1y"].concat(),
        ];
        finds(Detected::CloudKey, &more.each_ref().map(String::as_str));
        silent(&[
            "glpat-short",
            "sk_live_short",
            "risk_live_aB3dE6gH9jK2mN5pQ8sTvW1y",
            "disk_live_temperature_reading",
            "GOCSPX-x",
            "sig=abc",
            "design=aB3aB3aB3aB3aB3aB3aB3aB3aB3aB3aB3aB3aB3aB3=",
            "monkey=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            "secret_access_key=x",
            "secret_access_key=",
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        ]);
        silent(&[
            "AKIA",
            "AKIAIOSFODNN7EXAMPL",
            "AKIAiosfodnn7example",
            "AIzaShort",
            "ghp_short",
            "xoxo-kisses",
            "AccountKey=",
            "-----BEGIN CERTIFICATE-----",
            "a=b",
            "snake_case_name",
            "high-level",
        ]);
    }

    #[test]
    fn telephone_numbers_are_found() {
        finds(
            Detected::Phone,
            &[
                "+4915112345678",
                "+49 151 12345678",
                "+1 212 555 0123",
                "+1-212-555-0123",
                "+1 (212) 555-0123",
                "+442079460958",
                "+33 6 12 34 56 78",
                "(212) 555-0123",
                "212-555-0123",
                "1-800-555-0199",
                "030 12345678",
                "020 7946 0958",
                "07700 900123",
                "0171/1234567",
                "06 12 34 56 78",
                "06.12.34.56.78",
            ],
        );
        silent(&[
            "+00:00",
            "+05:30",
            "1e+10",
            "+1357035420000",
            "+123",
            "+12125550123456",
            "2013-01-05",
            "2013-01-05T10:17:00+01:00",
            "10:17:00",
            "192.168.100.1000",
            "UA1545",
            "0001-2345678",
            "01/05/2013",
            "05.01.2013",
            "123-456-7890",
            "212-055-0123",
            "1.5.2-0123",
            "555-0123",
            "0123456789",
            "1357035420000",
            "2013-01-01/UA1545/EWR-IAH",
            "0.12 345678901",
            "2012-12-01-212-555-0123",
            "212-555-0123-9",
            "2-800-555-0199",
            "21-800-555-0199",
            "x1-800-555-0199",
            "550e8400-e29b-41d4-a716-446655440000",
            "01 02 2013",
            "00 12 34 56 78",
        ]);
    }

    #[test]
    fn no_text_makes_the_look_at_it_slow() {
        // Each of them begins something at every step that goes on to the end, which a look without bounds would follow.
        for part in [
            "-eyJ",
            "xoxb-",
            "01 ",
            "+1 ",
            "a@",
            "4111 ",
            "ghp_",
            "DE89",
            "-----BEGIN ",
            "AKIA",
            "github_pat_",
            "\\n+4",
            "\\u0040",
        ] {
            let text = part.repeat((1 << 20) / part.len());
            detect(text.as_bytes(), &mut Vec::new());
        }
    }

    #[test]
    fn escapes_by_number_hide_nothing() {
        for (text, expected) in [
            ("{\"a\":\"jo\\u0040example.org\"}", (Detected::Email, "jo\\u0040example.org")),
            ("{\"a\":\"\\u006Ao@example.org\\u0021\"}", (Detected::Email, "\\u006Ao@example.org")),
            ("{\"a\":\"\\u002B49 151 12345678\"}", (Detected::Phone, "\\u002B49 151 12345678")),
            ("\\u5361\\u53f7:4111111111111111", (Detected::Card, "4111111111111111")),
            ("\\ud83d\\udcb34111111111111111", (Detected::Card, "4111111111111111")),
            ("卡号：4111111111111111", (Detected::Card, "4111111111111111")),
            ("№4111 1111 1111 1111", (Detected::Card, "4111 1111 1111 1111")),
            ("4111\u{a0}1111\u{a0}1111\u{a0}1111", (Detected::Card, "4111\u{a0}1111\u{a0}1111\u{a0}1111")),
            ("4111\u{202f}1111\\u00a01111\\u202F1111", (Detected::Card, "4111\u{202f}1111\\u00a01111\\u202F1111")),
        ] {
            assert_eq!(found(text), [expected], "{text}");
        }
        silent(&["jo\\\\u0040example.org", "jo\\u004", "jo\\u00g0example.org", "\\u", "\\", "é\u{a0}"]);
        let line = "by jo\\u0040example.org, 卡号：4111111111111111.".as_bytes();
        assert_eq!(redact_line(line, &mut Vec::new()), "by [e-mail], 卡号：[card].".as_bytes());
    }

    #[test]
    fn addresses_below_domains_of_any_script_are_found() {
        finds(
            Detected::Email,
            &[
                "jo@müller.de",
                "jo@shop.müller.de",
                "jo@mu\u{308}ller.de",
                "jo.doe@пример.рф",
                "jo@例え.テスト",
                "jo@müller.co.uk",
                "jo@m-ü.example",
            ],
        );
        for (text, expected) in [
            // Where no blank parts words, what follows an address is none of it.
            ("邮箱jo@example.org谢谢", "jo@example.org"),
            ("メールはjo@example.comです。", "jo@example.com"),
            ("“jo@müller.de”", "jo@müller.de"),
            ("an jo@müller.de.", "jo@müller.de"),
            ("jo@example.org\u{ff0c}", "jo@example.org"),
            ("{\"a\":\"jo@m\\u00fcller.de\"}", "jo@m\\u00fcller.de"),
        ] {
            assert_eq!(found(text), [(Detected::Email, expected)], "{text}");
        }
        silent(&[
            "jo@müller",
            "@müller.de",
            "jo@ü.1",
            "jo@ü.x",
            "jo@ü.ü",
            "jo@-ü.de",
            "jo@ü-.de",
            "jo@ü..de",
            "jo@“müller”.de",
            "ü@2x.png",
            "icon@größe.png",
            "a @ ü.de",
            "https://jo@müller.de/",
        ]);
        // Bytes that are no text make no domain.
        for bytes in [&b"jo@m\xfcller.de"[..], b"jo@\xc3.de", b"jo@\xff\xfe.de"] {
            let mut found = Vec::new();
            detect(bytes, &mut found);
            assert_eq!(found, [], "{bytes:?}");
        }
    }

    #[test]
    fn card_numbers_that_were_kept_as_fractions_are_found() {
        for text in
            ["{\"pan\":4111111111111111.0}", "4111111111111111.0", "x,4111111111111111.00,y", "4111111111111111.0."]
        {
            assert_eq!(found(text), [(Detected::Card, "4111111111111111")], "{text}");
        }
        silent(&[
            "4111111111111111.05",
            "4111111111111111.50",
            "4111111111111111.0.1",
            "4111111111111111.0a",
            "4111111111111112.0",
            "1357035420000000.0",
            "0.4111111111111111",
        ]);
    }

    #[test]
    fn card_numbers_behind_a_name_that_says_so_are_found() {
        for name in
            ["card_", "CARD-", "visa_card_", "card_number_", "cardNo_", "cc-", "pan.", "customer_pan_", "creditcard#"]
        {
            for number in ["4111111111111111", "4111 1111 1111 1111"] {
                for ahead in ["", "\"", "id: ", "2_"] {
                    let text = format!("{ahead}{name}{number}");
                    assert_eq!(found(&text), [(Detected::Card, number)], "{text}");
                }
            }
        }
        silent(&[
            "tok_4111111111111111",
            "order_4111111111111111",
            "discard_4111111111111111",
            "company_4111111111111111",
            "card4111111111111111",
            "card_4111111111111112",
            "card_x4111111111111111",
            "card 1_4111111111111111",
            "card_-1.4111111111111111b",
            "_4111111111111111",
            "card_030 12345678",
            "pan-212-555-0123",
        ]);
    }

    #[test]
    fn several_in_one_text_are_found_in_order() {
        let text = "jo@example.org paid with 4111 1111 1111 1111, call +49 151 12345678";
        let kinds: Vec<Detected> = found(text).into_iter().map(|(kind, _)| kind).collect();
        assert_eq!(kinds, [Detected::Email, Detected::Card, Detected::Phone]);
        let line = redact_line(text.as_bytes(), &mut Vec::new());
        assert_eq!(line, b"[e-mail] paid with [card], call [phone]");
    }
}
