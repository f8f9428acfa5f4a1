//! Libraries and their kernels (driver API, "Library Management"): here, modules and functions of the context that
//! was current when the library was loaded.

use std::ffi::c_void;

use super::api::api;
use super::argument::{In, Out, Text};
use super::module::{self, Log};
use super::state::Handle;

api! {
    /// Loads a library from PTX text, NUL-terminated.
    fn cuLibraryLoadData(
        s, c;
        library: Out<Handle>,
        code: Text,
        options: In<i32>,
        values: Out<usize>,
        count: u32,
        library_options: In<i32>,
        library_values: In<*mut c_void>,
        library_count: u32,
    ) {
        // How to keep binaries, of which there are none.
        let _ = (library_options, library_values, library_count);
        let log = Log::among(options, values, count)?;
        module::load(&mut s, c, library, &module::text(code)?, log)
    }

    /// Loads a library from a file of PTX.
    fn cuLibraryLoadFromFile(
        s, c;
        library: Out<Handle>,
        path: Text,
        options: In<i32>,
        values: Out<usize>,
        count: u32,
        library_options: In<i32>,
        library_values: In<*mut c_void>,
        library_count: u32,
    ) {
        let _ = (library_options, library_values, library_count);
        let log = Log::among(options, values, count)?;
        module::load(&mut s, c, library, &module::file(path)?, log)
    }

    /// Unloads a library.
    fn cuLibraryUnload(s; library: Handle) {
        module::unload(s, library)
    }

    /// A kernel of a library.
    fn cuLibraryGetKernel(s, c; kernel: Out<Handle>, library: Handle, name: Text) {
        let _ = c;
        kernel.put(s.function_of(library, &name.get()?)?)
    }

    /// A library as a module of the context.
    fn cuLibraryGetModule(s, c; module: Out<Handle>, library: Handle) {
        let _ = c;
        s.known_module(library)?;
        module.put(library)
    }

    /// Address and size in bytes of a variable of a library.
    fn cuLibraryGetGlobal(s, c; address: Out<u64>, size: Out<usize>, library: Handle, name: Text) {
        let _ = c;
        module::variable(&s, address, size, library, name)
    }

    /// A kernel as a function of the context.
    fn cuKernelGetFunction(s, c; function: Out<Handle>, kernel: Handle) {
        let _ = c;
        s.function(kernel)?;
        function.put(kernel)
    }
}
