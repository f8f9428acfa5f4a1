//! What a pointer is, and hints about memory (driver API, "Unified Addressing").

use std::ffi::c_void;

use crate::memory::Kind;

use super::allocation::status;
use super::api::{api, refuse};
use super::argument::{In, Out};
use super::pool::Location;
use super::state::{Handle, State};
use super::status::{Result, Status};

/// The value of an attribute.
enum Value {
    Word(u32),
    Long(u64),
}

impl Value {
    fn put(self, out: Out<c_void>) -> Result<()> {
        match self {
            Value::Word(value) => out.cast().put(value),
            Value::Long(value) => out.cast().put(value),
        }
    }
}

impl State {
    /// A `CUpointer_attribute` of an address that the device can reach.
    fn pointer_attribute(&self, attribute: i32, address: u64) -> Result<Value> {
        let region = self.memory().region(address, 1).map_err(|_| Status::INVALID_VALUE)?;
        let on_host = matches!(region.kind, Kind::Pinned | Kind::Registered);
        let owner = self.owners.get(&region.base);
        let handle = |h: Option<Handle>| Value::Long(h.unwrap_or_default().0 as u64);
        Ok(match attribute {
            1 => handle(owner.map(|o| o.context)),
            2 => Value::Word(if on_host { 1 } else { 2 }), // CU_MEMORYTYPE_HOST, CU_MEMORYTYPE_DEVICE
            3 => Value::Long(address),
            4 if region.kind.on_device() => return Err(Status::INVALID_VALUE),
            4 => Value::Long(address),
            6 => Value::Word(0), // copies do not always synchronise
            7 => Value::Long(region.base),
            8 => Value::Word(u32::from(region.kind == Kind::Managed)),
            9 => Value::Word(0), // device
            10 | 15 => Value::Word(0),
            11 => Value::Long(region.base),
            12 => Value::Long(region.len as u64),
            13 => Value::Word(1),
            14 => Value::Long(0),
            16 => Value::Word(3), // read and write
            17 => handle(owner.and_then(|o| o.pool)),
            _ => return Err(Status::INVALID_VALUE),
        })
    }

    fn check_managed(&self, address: u64, len: usize) -> Result<()> {
        let region = self.memory().region(address, len.max(1)).map_err(status)?;
        if region.kind == Kind::Managed {
            return Ok(());
        }
        Err(refuse(Status::INVALID_VALUE, format_args!("{address:#x} is not managed memory")))
    }
}

api! {
    /// An attribute of a pointer.
    fn cuPointerGetAttribute(s, c; value: Out<c_void>, attribute: i32, address: u64) {
        let _ = c;
        s.pointer_attribute(attribute, address)?.put(value)
    }

    /// Attributes of a pointer; those that it does not have are zero.
    fn cuPointerGetAttributes(s, c; count: u32, attributes: In<i32>, values: In<Out<c_void>>, address: u64) {
        let _ = c;
        let attributes = attributes.list(count as usize)?;
        for (attribute, value) in attributes.into_iter().zip(values.list(count as usize)?) {
            let none = match attribute {
                2 | 6 | 8 | 9 | 10 | 13 | 15 | 16 => Value::Word(0),
                _ => Value::Long(0),
            };
            s.pointer_attribute(attribute, address).unwrap_or(none).put(value)?;
        }
        Ok(())
    }

    /// A hint where managed memory will be used, which has no effect.
    fn cuMemPrefetchAsync(s, c; address: u64, len: usize, device: i32, stream: Handle) {
        let _ = device;
        s.resolve(c, stream)?;
        s.check_managed(address, len)
    }

    /// A hint where managed memory will be used, which has no effect.
    fn cuMemPrefetchAsync_v2(s, c; address: u64, len: usize, location: Location, flags: u32, stream: Handle) {
        let _ = (location, flags);
        s.resolve(c, stream)?;
        s.check_managed(address, len)
    }

    /// A hint how managed memory will be used, which has no effect.
    fn cuMemAdvise(s, c; address: u64, len: usize, advice: i32, device: i32) {
        let _ = (c, advice, device);
        s.check_managed(address, len)
    }

    /// A hint how managed memory will be used, which has no effect.
    fn cuMemAdvise_v2(s, c; address: u64, len: usize, advice: i32, location: Location) {
        let _ = (c, advice, location);
        s.check_managed(address, len)
    }
}
