//! Initialisation, version and devices (driver API, "Initialization", "Version Management", "Device Management").

use std::ffi::c_char;

use crate::cuda::Cuda;

use super::api::{api, refuse};
use super::argument::{Out, Text};
use super::state::{self, Handle, State};
use super::status::{Result, Status};

/// Name of the device on the (absent) PCI bus.
const BUS_ID: &str = "0000:00:00.0";

/// Bytes that tell this device from any other.
const UUID: [u8; 16] = *b"ptxsim-simulated";

impl State {
    /// Fails unless `device` is the one there is.
    pub(super) fn check_device(&self, device: i32) -> Result<()> {
        if device == 0 { Ok(()) } else { Err(Status::INVALID_DEVICE) }
    }
}

api! {
    /// Makes the driver ready.
    fn cuInit(flags: u32) {
        if flags != 0 {
            return Err(Status::INVALID_VALUE);
        }
        state::initialise()
    }

    /// The CUDA version that the driver supports. There is no need of `cuInit` to ask.
    fn cuDriverGetVersion(version: Out<i32>) {
        let cuda = match state::lock() {
            Ok(s) => s.machine.device.cuda,
            Err(_) => Cuda::from_env().map_err(|why| refuse(Status::UNKNOWN, why))?,
        };
        version.put(cuda.version)
    }

    /// A device by its number.
    fn cuDeviceGet(s; device: Out<i32>, ordinal: i32) {
        s.check_device(ordinal)?;
        device.put(0)
    }

    /// How many devices there are: one.
    fn cuDeviceGetCount(s; count: Out<i32>) {
        let _ = s;
        count.put(1)
    }

    /// The device's name, which says that it is simulated.
    fn cuDeviceGetName(s; name: Out<c_char>, len: i32, device: i32) {
        s.check_device(device)?;
        name.put_text(s.machine.device.name(), usize::try_from(len).unwrap_or(0))
    }

    /// Bytes of the device's memory.
    fn cuDeviceTotalMem_v2(s; bytes: Out<usize>, device: i32) {
        s.check_device(device)?;
        bytes.put(s.machine.device.memory)
    }

    /// An attribute of the device.
    fn cuDeviceGetAttribute(s; value: Out<i32>, attribute: i32, device: i32) {
        s.check_device(device)?;
        let found = s.machine.device.attribute(attribute);
        value.put(found.ok_or_else(|| {
            refuse(Status::INVALID_VALUE, format_args!("device attribute {attribute} is not one of CUDA 13.0's"))
        })?)
    }

    /// Compute capability.
    fn cuDeviceComputeCapability(s; major: Out<i32>, minor: Out<i32>, device: i32) {
        s.check_device(device)?;
        let (x, y) = s.machine.device.compute_capability();
        major.put(x as i32)?;
        minor.put(y as i32)
    }

    /// Bytes that tell devices apart.
    fn cuDeviceGetUuid(s; uuid: Out<[u8; 16]>, device: i32) {
        s.check_device(device)?;
        uuid.put(UUID)
    }

    /// The same as `cuDeviceGetUuid`, as there are no partitions.
    fn cuDeviceGetUuid_v2(s; uuid: Out<[u8; 16]>, device: i32) {
        s.check_device(device)?;
        uuid.put(UUID)
    }

    /// The device at a PCI address.
    fn cuDeviceGetByPCIBusId(s; device: Out<i32>, id: Text) {
        let _ = s;
        if id.get()? != BUS_ID {
            return Err(Status::INVALID_DEVICE);
        }
        device.put(0)
    }

    /// The device's PCI address.
    fn cuDeviceGetPCIBusId(s; id: Out<c_char>, len: i32, device: i32) {
        s.check_device(device)?;
        id.put_text(BUS_ID, usize::try_from(len).unwrap_or(0))
    }

    /// Whether a device can reach another's memory; there is no other.
    fn cuDeviceCanAccessPeer(s; can: Out<i32>, device: i32, peer: i32) {
        s.check_device(device)?;
        s.check_device(peer)?;
        can.put(0)
    }

    /// The device's default memory pool.
    fn cuDeviceGetDefaultMemPool(s; pool: Out<Handle>, device: i32) {
        s.check_device(device)?;
        pool.put(s.default_pool)
    }

    /// The device's current memory pool.
    fn cuDeviceGetMemPool(s; pool: Out<Handle>, device: i32) {
        s.check_device(device)?;
        pool.put(s.current_pool)
    }

    /// Makes a memory pool the device's current one.
    fn cuDeviceSetMemPool(s; device: i32, pool: Handle) {
        s.check_device(device)?;
        s.pool(pool)?;
        s.current_pool = pool;
        Ok(())
    }
}
