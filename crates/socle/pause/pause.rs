//! The process that holds a pod's namespaces open: it sleeps, collects the children that other
//! containers of a shared process namespace leave behind, and ends on SIGTERM or SIGINT.
//!
//! A program of its own, without libc, so that its image is a few kilobytes; `build.rs` compiles it.

#![no_std]
#![no_main]

use core::arch::{asm, global_asm};

#[cfg(target_arch = "x86_64")]
mod sys {
    pub const RT_SIGPROCMASK: usize = 14;
    pub const WAIT4: usize = 61;
    pub const EXIT: usize = 60;
    pub const RT_SIGTIMEDWAIT: usize = 128;

    /// # Safety
    /// The arguments must be what the numbered system call takes.
    pub unsafe fn call(number: usize, a: usize, b: usize, c: usize, d: usize) -> isize {
        let answer: isize;
        unsafe {
            super::asm!("syscall", inlateout("rax") number as isize => answer, in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d,
                lateout("rcx") _, lateout("r11") _, options(nostack));
        }
        answer
    }
}

#[cfg(target_arch = "aarch64")]
mod sys {
    pub const RT_SIGPROCMASK: usize = 135;
    pub const WAIT4: usize = 260;
    pub const EXIT: usize = 93;
    pub const RT_SIGTIMEDWAIT: usize = 137;

    /// # Safety
    /// The arguments must be what the numbered system call takes.
    pub unsafe fn call(number: usize, a: usize, b: usize, c: usize, d: usize) -> isize {
        let answer: isize;
        unsafe {
            super::asm!("svc 0", in("x8") number, inlateout("x0") a as isize => answer, in("x1") b, in("x2") c, in("x3") d,
                options(nostack));
        }
        answer
    }
}

// The kernel enters with an unaligned frame pointer; a call makes it an ordinary function.
#[cfg(target_arch = "x86_64")]
global_asm!(".globl _start", "_start:", "xor ebp, ebp", "and rsp, -16", "call {0}", "ud2", sym hold);
#[cfg(target_arch = "aarch64")]
global_asm!(".globl _start", "_start:", "mov x29, #0", "bl {0}", "brk #1", sym hold);

const SIGINT: isize = 2;
const SIGTERM: isize = 15;
const SIGCHLD: isize = 17;
const SIG_BLOCK: usize = 0;
const WNOHANG: usize = 1;

extern "C" fn hold() -> ! {
    let signals: u64 = (1 << (SIGINT - 1)) | (1 << (SIGTERM - 1)) | (1 << (SIGCHLD - 1));
    let set = &raw const signals as usize;
    unsafe {
        sys::call(sys::RT_SIGPROCMASK, SIG_BLOCK, set, 0, size_of::<u64>());
        loop {
            match sys::call(sys::RT_SIGTIMEDWAIT, set, 0, 0, size_of::<u64>()) {
                SIGINT | SIGTERM => {
                    sys::call(sys::EXIT, 0, 0, 0, 0);
                }
                SIGCHLD => while sys::call(sys::WAIT4, usize::MAX, 0, WNOHANG, 0) > 0 {},
                _ => {}
            }
        }
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {
        unsafe { sys::call(sys::EXIT, 1, 0, 0, 0) };
    }
}
