//! Reads Python's pickle format (protocols 2 to 5) as far as plain data goes: numbers, texts, lists, tuples and dictionaries.
//!
//! Values lie in an arena and name each other by handles. So what a file shares is shared here too, and its depth is no
//! depth of calls: a file decides about both, and a snapshot names the same stack a hundred thousand times. Nothing is ever
//! called or imported, as Python's own reader would.

use std::collections::BTreeMap;

/// Why a file is no plain pickle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PickleError {
    /// It ends too early.
    #[error("the pickle ends at byte {0}, in the middle of a value")]
    Truncated(usize),
    /// It says something that plain data has no need of.
    #[error(
        "byte {at}: operation {code:#04x} makes an object of a class; expected plain data, as torch.cuda.memory._dump_snapshot writes it"
    )]
    Operation {
        /// Where.
        at: usize,
        /// Which.
        code: u8,
    },
    /// It uses what is not there.
    #[error("byte {0}: the pickle takes a value that it never put there")]
    Missing(usize),
    /// A text that is none.
    #[error("byte {0}: a text is not UTF-8")]
    Text(usize),
}

/// A value, by its place in the arena.
pub type Handle = u32;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// `None`.
    None,
    /// A truth.
    Bool(bool),
    /// A whole number; those beyond 64 bits are cut.
    Int(i64),
    /// A number.
    Float(f64),
    /// A text.
    Text(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
    /// A list, a tuple or a set.
    List(Vec<Handle>),
    /// Keys and values in their order.
    Dict(Vec<(Handle, Handle)>),
}

/// All values of a file.
#[derive(Debug, Default)]
pub struct Pickle<'a> {
    values: Vec<Value<'a>>,
    root: Handle,
}

impl<'a> Pickle<'a> {
    /// Reads a file.
    ///
    /// # Errors
    /// When it ends early, or holds more than plain data.
    pub fn read(bytes: &'a [u8]) -> Result<Self, PickleError> {
        Reader { bytes, at: 0, pickle: Self::default(), stack: Vec::new(), marks: Vec::new(), memo: BTreeMap::new() }
            .run()
    }

    /// What the file is.
    pub fn root(&self) -> Handle {
        self.root
    }

    /// A value.
    pub fn get(&self, handle: Handle) -> &Value<'a> {
        &self.values[handle as usize]
    }

    /// A dictionary's entry; none where it has none, or is no dictionary.
    pub fn entry(&self, dict: Handle, key: &str) -> Option<Handle> {
        let Value::Dict(entries) = self.get(dict) else { return None };
        let found = entries.iter().rev().find(|(name, _)| matches!(self.get(*name), Value::Text(text) if *text == key));
        found.map(|&(_, value)| value)
    }

    /// The elements of a list; none of anything else.
    pub fn list(&self, handle: Handle) -> &[Handle] {
        if let Value::List(items) = self.get(handle) { items } else { &[] }
    }

    /// A whole number.
    pub fn int(&self, handle: Handle) -> Option<i64> {
        if let Value::Int(number) = self.get(handle) { Some(*number) } else { None }
    }

    /// A text.
    pub fn text(&self, handle: Handle) -> Option<&'a str> {
        if let Value::Text(text) = self.get(handle) { Some(text) } else { None }
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    pickle: Pickle<'a>,
    stack: Vec<Handle>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: BTreeMap<u64, Handle>,
}

type Done<T = ()> = Result<T, PickleError>;

impl<'a> Reader<'a> {
    fn run(mut self) -> Done<Pickle<'a>> {
        loop {
            let (at, code) = (self.at, self.take(1)?[0]);
            if code == b'.' {
                self.pickle.root = self.pop()?;
                return Ok(self.pickle);
            }
            let known = self.number(code)? || self.text(code)? || self.memo(code)? || self.group(code)?;
            if !known {
                return Err(PickleError::Operation { at, code });
            }
        }
    }

    fn take(&mut self, count: usize) -> Done<&'a [u8]> {
        let end = self.at.checked_add(count).filter(|&end| end <= self.bytes.len());
        let end = end.ok_or(PickleError::Truncated(self.bytes.len()))?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    /// An unsigned number of some bytes, the lowest first.
    fn unsigned(&mut self, bytes: usize) -> Done<u64> {
        let digits = self.take(bytes)?;
        Ok(digits.iter().rev().fold(0, |number, &digit| number << 8 | u64::from(digit)))
    }

    fn length(&mut self, bytes: usize) -> Done<usize> {
        let length = self.unsigned(bytes)?;
        usize::try_from(length).map_err(|_| PickleError::Truncated(self.bytes.len()))
    }

    fn push(&mut self, value: Value<'a>) -> bool {
        self.stack.push(u32::try_from(self.pickle.values.len()).unwrap_or(u32::MAX));
        self.pickle.values.push(value);
        true
    }

    fn pop(&mut self) -> Done<Handle> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return Err(PickleError::Missing(self.at));
        }
        self.stack.pop().ok_or(PickleError::Missing(self.at))
    }

    /// What lies above the last mark.
    fn above_mark(&mut self) -> Done<Vec<Handle>> {
        let mark = self.marks.pop().ok_or(PickleError::Missing(self.at))?;
        Ok(self.stack.split_off(mark))
    }

    fn number(&mut self, code: u8) -> Done<bool> {
        let value = match code {
            b'N' => Value::None,
            0x88 => Value::Bool(true),
            0x89 => Value::Bool(false),
            b'K' => Value::Int(self.unsigned(1)?.cast_signed()),
            b'M' => Value::Int(self.unsigned(2)?.cast_signed()),
            b'J' => Value::Int(i64::from(i32::from_le_bytes(self.array()?))),
            0x8a => {
                let length = self.length(1)?;
                Value::Int(signed(self.take(length)?))
            }
            b'G' => Value::Float(f64::from_be_bytes(self.array()?)),
            _ => return Ok(false),
        };
        Ok(self.push(value))
    }

    fn array<const N: usize>(&mut self) -> Done<[u8; N]> {
        let at = self.at;
        self.take(N)?.try_into().map_err(|_| PickleError::Truncated(at))
    }

    fn text(&mut self, code: u8) -> Done<bool> {
        let width = match code {
            0x8c | b'C' | b'U' => 1,
            b'X' | b'B' | b'T' => 4,
            0x8d | 0x8e => 8,
            _ => return Ok(false),
        };
        let length = self.length(width)?;
        let (at, bytes) = (self.at, self.take(length)?);
        let value = if matches!(code, b'C' | b'B' | 0x8e) {
            Value::Bytes(bytes)
        } else {
            Value::Text(std::str::from_utf8(bytes).map_err(|_| PickleError::Text(at))?)
        };
        Ok(self.push(value))
    }

    /// Frames, and what is kept to be named again.
    fn memo(&mut self, code: u8) -> Done<bool> {
        match code {
            0x80 => drop(self.take(1)?),
            0x95 => drop(self.take(8)?),
            b'q' | b'r' | 0x94 => {
                let number = match code {
                    b'q' => self.unsigned(1)?,
                    b'r' => self.unsigned(4)?,
                    _ => self.memo.len() as u64,
                };
                let top = self.stack.last().copied().ok_or(PickleError::Missing(self.at))?;
                self.memo.insert(number, top);
            }
            b'h' | b'j' => {
                let number = self.unsigned(if code == b'h' { 1 } else { 4 })?;
                let kept = self.memo.get(&number).copied().ok_or(PickleError::Missing(self.at))?;
                self.stack.push(kept);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn group(&mut self, code: u8) -> Done<bool> {
        match code {
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b']' | b')' | 0x8f => drop(self.push(Value::List(Vec::new()))),
            b'}' => drop(self.push(Value::Dict(Vec::new()))),
            b't' | b'l' => {
                let items = self.above_mark()?;
                self.push(Value::List(items));
            }
            0x85..=0x87 => {
                let mut items: Vec<Handle> = (0x85..=code).map(|_| self.pop()).collect::<Done<_>>()?;
                items.reverse();
                self.push(Value::List(items));
            }
            b'a' | b'e' | 0x90 => {
                let more = if code == b'a' { vec![self.pop()?] } else { self.above_mark()? };
                self.append(more)?;
            }
            b's' | b'u' => self.set(code)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn append(&mut self, more: Vec<Handle>) -> Done {
        let top = self.stack.last().copied().ok_or(PickleError::Missing(self.at))?;
        match &mut self.pickle.values[top as usize] {
            Value::List(items) => items.extend(more),
            _ => return Err(PickleError::Missing(self.at)),
        }
        Ok(())
    }

    fn set(&mut self, code: u8) -> Done {
        let items = if code == b's' {
            let value = self.pop()?;
            vec![self.pop()?, value]
        } else {
            self.above_mark()?
        };
        let top = self.stack.last().copied().ok_or(PickleError::Missing(self.at))?;
        match &mut self.pickle.values[top as usize] {
            Value::Dict(entries) => entries.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1]))),
            _ => return Err(PickleError::Missing(self.at)),
        }
        Ok(())
    }
}

/// A number in two's complement, the lowest byte first.
fn signed(bytes: &[u8]) -> i64 {
    let negative = bytes.last().is_some_and(|&last| last >= 0x80);
    let mut wide = if negative { [0xff; 8] } else { [0; 8] };
    for (wide, byte) in wide.iter_mut().zip(bytes) {
        *wide = *byte;
    }
    i64::from_le_bytes(wide)
}
