//! Shaders whose buffers hold numbers in fewer bits: what they read and write of such a buffer goes through functions
//! that widen and round. So every kernel is written once, in fp32, and runs in every format.
//!
//! A number that is written shares its word with others, which other invocations may write at the same time: it is put
//! there by two atomic operations on its own bits, whose order does not matter.

use std::borrow::Cow;
use std::fmt::Write;

use super::{Dispatch, Format, Kernel, WIDE};

/// Where a shader says how many sums an invocation has.
const MOST_SUMS: &str = "const SUMS: u32 = 512u;";

/// Where a shader says how the factors of a product lie.
const LIES: &str = "const ALONG: u32 = 0u;";

/// What stands before a loop whose body is to stand there as often as it is run through: compilers do not unroll loops that
/// are made to end.
const UNROLL: &str = "// unroll\n";

/// How a shader begins that needs more than WGSL has by itself.
const NEEDS: &str = "enable ";

/// What stands before a shader that reads or writes such a buffer.
const FORMATS: &str = include_str!("../../../shaders/parts/formats.wgsl");

impl Kernel {
    /// The source of a way to compute it, on buffers whose numbers lie as `formats` says, with room for `sums` in the
    /// memory of an invocation (see [`Dispatch::sums`]).
    pub fn source_in(self, family: u8, formats: &[Format], sums: u32) -> Cow<'static, str> {
        let source = self.source_of(family);
        let source = match sums {
            0 => Cow::Borrowed(source),
            _ => Cow::Owned(
                source
                    .replace(MOST_SUMS, &format!("const SUMS: u32 = {sums}u;"))
                    .replace(LIES, &format!("const ALONG: u32 = {sums}u;")),
            ),
        };
        let source = if family == WIDE { Cow::Owned(widened(&source)) } else { source };
        let source = if source.contains(UNROLL) { Cow::Owned(unrolled(&source)) } else { source };
        if formats.iter().all(|&format| format == Format::Word) {
            return source;
        }
        let mut text = without_comments(&source);
        for (binding, &format) in formats.iter().enumerate().filter(|(_, format)| **format != Format::Word) {
            text = with_format(&text, binding, format);
        }
        // A kernel that rounds by itself has it already.
        if text.contains("fn from_byte(") {
            return Cow::Owned(text);
        }
        // What a shader needs stands before all else.
        let needs = text.split_inclusive('\n').take_while(|line| line.starts_with(NEEDS)).map(str::len).sum();
        let (needs, rest) = text.split_at(needs);
        Cow::Owned(format!("{needs}{FORMATS}\n{rest}"))
    }
}

impl Dispatch {
    /// Sums that an invocation keeps: one for each element of a head, rounded up so that few sources differ. Of a product
    /// that is read four numbers at once, how its factors lie.
    pub fn sums(&self) -> u32 {
        if self.kernel == Kernel::Matmul {
            return self.along();
        }
        let &[_, _, _, _, _, head_dim, value_dim, ..] = &self.params[..] else { return 0 };
        let sums = match self.kernel {
            Kernel::Attention => value_dim,
            Kernel::AttentionGradQ => head_dim,
            // By subgroups an invocation has some of both.
            Kernel::AttentionGradKv if self.kernel.is_by_subgroup(self.family) => head_dim.max(value_dim),
            Kernel::AttentionGradKv => head_dim + value_dim,
            _ => return 0,
        };
        sums.next_multiple_of(16)
    }
}

/// How an elementwise shader begins, up to what its index must stay below.
const ELEMENT: &str = "@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let i = gid.x + gid.y * workgroups.x * 64u;
    if i >= ";

/// How it goes on behind that.
const BEYOND: &str = " {
        return;
    }
";

/// How one begins that gives an invocation four elements, which lie a workgroup apart.
const FOUR_ELEMENTS: &str = "@compute @workgroup_size(256)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
) {
    let block = (group.x + group.y * workgroups.x) * 1024u + lane;
    // unroll
    for (var element = 0u; element < 4u; element++) {
        let i = block + element * 256u;
        if !(i >= ";

/// The same elementwise shader with four elements for each invocation.
fn widened(source: &str) -> String {
    let parts = source.split_once(ELEMENT).and_then(|(before, rest)| Some((before, rest.split_once(BEYOND)?)));
    let Some((before, (end, body))) = parts else { return source.to_owned() };
    let Some(body) = body.trim_end().strip_suffix('}') else { return source.to_owned() };
    // The loop ends where a line begins as it does.
    let body: String = body.lines().map(|line| format!("        {line}\n")).collect();
    format!("{before}{FOUR_ELEMENTS}{end}) {{\n{body}        }}\n    }}\n}}\n")
}

/// The same with every loop that is marked written out. Such a loop counts from 0 to before a number, and no loop is in it.
fn unrolled(source: &str) -> String {
    let mut parts = source.split(UNROLL);
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match counted_loop(part) {
            Some((name, count, body, rest)) => {
                for number in 0..count {
                    let _ = writeln!(text, "{{ const {name} = {number}u;{body}}}");
                }
                text.push_str(rest);
            }
            None => text.push_str(part),
        }
    }
    text
}

/// The variable of a loop, how often it runs, its body, and what stands behind it.
fn counted_loop(source: &str) -> Option<(&str, u32, &str, &str)> {
    let (indent, head) = source.split_once("for (var ")?;
    let (name, head) = head.split_once(" = 0u; ")?;
    let (_, head) = head.split_once(" < ")?;
    let (count, _) = head.split_once("u; ")?;
    let (_, body) = head.split_once(") {\n")?;
    let (body, rest) = body.split_once(&format!("\n{indent}}}\n"))?;
    Some((name, count.parse().ok()?, body, rest))
}

fn without_comments(source: &str) -> String {
    source.lines().map(|line| line.split("//").next().unwrap_or_default()).fold(String::new(), |mut text, line| {
        text.push_str(line);
        text.push('\n');
        text
    })
}

/// Replaces the buffer of a binding by one of another format, and all that touches it.
fn with_format(source: &str, binding: usize, format: Format) -> String {
    let Some((before, name, access, after)) = declaration(source, binding) else { return source.to_owned() };
    let functions = accessors(name, binding, access, format);
    let text = format!("{}{functions}{}", rewritten(before, name), rewritten(after, name));
    if format.is_packed() && access != "read" { with_whole_words(text, name, format) } else { text }
}

/// Replaces the function that writes four neighbours by one that writes the words whole which no other invocation writes.
fn with_whole_words(text: String, name: &str, format: Format) -> String {
    let head = format!("fn {name}_four(at: u32, values: vec4<f32>) {{");
    let Some((before, rest)) = text.split_once(&head) else { return text };
    let Some((_, after)) = rest.split_once("\n}\n") else { return text };
    let format = format.name();
    let pair = |x: char, y: char| format!("to_{format}(values.{x}) | (to_{format}(values.{y}) << 16u)");
    let [first, second, middle] = [pair('x', 'y'), pair('z', 'w'), pair('y', 'z')];
    format!(
        "{before}{head}\n\
         \x20   if (at & 1u) == 0u {{\n\
         \x20       atomicStore(&{name}[at >> 1u], {first});\n\
         \x20       atomicStore(&{name}[(at >> 1u) + 1u], {second});\n\
         \x20       return;\n\
         \x20   }}\n\
         \x20   {name}_put(at, values.x);\n\
         \x20   atomicStore(&{name}[(at >> 1u) + 1u], {middle});\n\
         \x20   {name}_put(at + 3u, values.w);\n\
         }}\n{after}"
    )
}

/// What stands before a binding's declaration, its name, its access, and what stands behind. Buffers of whole numbers
/// are none of a format.
fn declaration(source: &str, binding: usize) -> Option<(&str, &str, &str, &str)> {
    let (before, declared) = source.split_once(&format!("@group(0) @binding({binding}) var<storage, "))?;
    let (access, declared) = declared.split_once("> ")?;
    let (name, declared) = declared.split_once(": ")?;
    Some((before, name, access, declared.strip_prefix("array<f32>;")?))
}

/// The buffer and the functions that read and write a number of it.
fn accessors(name: &str, binding: usize, access: &str, format: Format) -> String {
    let writes = access != "read";
    let places = 4 / format.size();
    // The word of a number, and its place in there.
    let (word, bits) = (format!("i / {places}u"), 32 / places);
    let element = match (format.is_packed(), writes) {
        (false, _) => "f32",
        (true, false) => "u32",
        (true, true) => "atomic<u32>",
    };
    let word =
        if format.is_packed() && writes { format!("atomicLoad(&{name}[{word}])") } else { format!("{name}[{word}]") };
    let mask = u32::MAX >> (32 - bits);
    let number = if format.is_packed() { format!("({word} >> (i % {places}u * {bits}u)) & {mask}u") } else { word };
    // Behind the last number stands what all of them are multiplied by, or of each block of them.
    let length = format!("arrayLength(&{name})");
    let scale = match format {
        Format::E4m3Blocks => format!(" * bitcast<f32>({name}[{length} - ({length} + 32u) / 33u + i / 128u])"),
        Format::E2m1Blocks => {
            // Its halves lie in the upper ones of two bytes.
            let of_block = format!("{name}[i / 16u * 4u]");
            let code = format!("(({of_block} >> 4u) & 15u) | (({of_block} >> 8u) & 0xf0u)");
            format!(" * (from_e4m3({code}) * bitcast<f32>({name}[{length} - 1u]))")
        }
        _ if format.is_scaled() => format!(" * bitcast<f32>({name}[{length} - 1u])"),
        _ => String::new(),
    };
    let format = match format {
        Format::E4m3Blocks => Format::E4m3.name(),
        other => other.name(),
    };
    let mut text = format!(
        "@group(0) @binding({binding}) var<storage, {access}> {name}: array<{element}>;\n\
         fn {name}_at(i: u32) -> f32 {{ return from_{format}({number}){scale}; }}\n"
    );
    if writes {
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "fn {name}_put(i: u32, value: f32) {{\n\
             \x20   let shift = (i & 1u) * 16u;\n\
             \x20   atomicAnd(&{name}[i >> 1u], ~(0xffffu << shift));\n\
             \x20   atomicOr(&{name}[i >> 1u], to_{format}(value) << shift);\n}}\n"
        );
    }
    text
}

/// Calls a buffer's functions wherever an element of it is read or written.
fn rewritten(source: &str, name: &str) -> String {
    let (mut text, mut rest) = (String::with_capacity(source.len()), source);
    while let Some((before, index, after)) = next_element(rest, name) {
        text.push_str(before);
        let index = rewritten(index, name);
        if let Some((operator, value, behind)) = assignment(after) {
            let value = rewritten(value, name);
            let value = if operator.is_empty() { value } else { format!("{name}_at({index}) {operator} ({value})") };
            let _ = write!(text, "{name}_put({index}, {value});");
            rest = behind;
        } else {
            let _ = write!(text, "{name}_at({index})");
            rest = after;
        }
    }
    text.push_str(rest);
    text
}

/// What stands before the next element of a buffer, its index, and what stands behind.
fn next_element<'a>(source: &'a str, name: &str) -> Option<(&'a str, &'a str, &'a str)> {
    let pattern = format!("{name}[");
    let of_longer = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
    let place = source.match_indices(&pattern).map(|(place, _)| place).find(|&p| !source[..p].ends_with(of_longer))?;
    let inside = &source[place + pattern.len()..];
    let mut depth = 1;
    let end = inside.find(|c| {
        depth += i32::from(c == '[') - i32::from(c == ']');
        depth == 0
    })?;
    Some((&source[..place], &inside[..end], &inside[end + 1..]))
}

/// The operator, the value and the rest, where an element is assigned to.
fn assignment(after: &str) -> Option<(&str, &str, &str)> {
    let trimmed = after.trim_start();
    let operator = ["+", "-", "*", "/"].into_iter().find(|operator| trimmed.starts_with(operator)).unwrap_or("");
    let value = trimmed[operator.len()..].strip_prefix('=').filter(|value| !value.starts_with('='))?;
    let (value, rest) = value.split_once(';')?;
    Some((operator, value.trim(), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marked_loop_is_written_out() {
        let source = "a;\n    // unroll\n    for (var k = 0u; k < 2u; k++) {\n        s += x[k];\n    }\n    b;\n";
        let expected = "a;\n    { const k = 0u;        s += x[k];}\n{ const k = 1u;        s += x[k];}\n    b;\n";
        assert_eq!(unrolled(source), expected);
    }

    #[test]
    fn elements_are_read_and_written_through_functions() {
        let source = "y[i] = x[2u * at[i]] + dx[0]; y[j] += y[i] * p.y[0]; if y[i] == 0.0 { y[y[0]] = 1.0; }";
        let expected = "y_put(i, x[2u * at[i]] + dx[0]); y_put(j, y_at(j) + (y_at(i) * p.y[0])); if y_at(i) == 0.0 \
                        { y_put(y_at(0), 1.0); }";
        assert_eq!(rewritten(source, "y"), expected);
        assert_eq!(rewritten("x[ids[i]]", "x"), "x_at(ids[i])");
    }
}
