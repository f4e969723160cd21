/**
 * libc: the only FFI of the project. Every symbol is declared with its C types; the library is opened at the first call,
 * never at import, so that the command line and the CNI plugin start without it.
 *
 * A synchronous call costs tens of nanoseconds plus the system call. Sizes and flags are declared 32 bits wide (`size_t`
 * below): a `usize` made from a JavaScript number costs ten times as much, and the registers are zero-extended. Symbols
 * whose name ends in `_parked` run on a thread of a small shared pool and return a promise: at most two may be parked, and
 * errno cannot be read after them. Path names and other strings go in through `cstring`.
 *
 * In: numbers and byte arrays. Out: the C result; `checked` turns -1 into `SyscallError`.
 */

import { errnoCode, errnoText } from "../netlink/errno.ts";

const int = "i32";
const unsigned = "u32";
const size_t = "u32";
const ssize_t = "i32";
const socklen_t = "u32";
const unsigned_long = "u32";
const pointer = "buffer";

const SYMBOLS = {
  /** int *__errno_location(void) */
  __errno_location: { parameters: [], result: "pointer" },

  /** int socket(int domain, int type, int protocol) */
  socket: { parameters: [int, int, int], result: int },
  /** int bind(int fd, const struct sockaddr *, socklen_t) */
  bind: { parameters: [int, pointer, socklen_t], result: int },
  /** int connect(int fd, const struct sockaddr *, socklen_t) */
  connect: { parameters: [int, pointer, socklen_t], result: int },
  /** int listen(int fd, int backlog) */
  listen: { parameters: [int, int], result: int },
  /** int accept4(int fd, struct sockaddr *, socklen_t *, int flags) */
  accept4: { parameters: [int, pointer, pointer, int], result: int },
  /** int shutdown(int fd, int how) */
  shutdown: { parameters: [int, int], result: int },
  /** int getsockopt(int fd, int level, int name, void *value, socklen_t *) */
  getsockopt: { parameters: [int, int, int, pointer, pointer], result: int },
  /** int setsockopt(int fd, int level, int name, const void *value, socklen_t) */
  setsockopt: { parameters: [int, int, int, pointer, socklen_t], result: int },
  /** int getsockname(int fd, struct sockaddr *, socklen_t *) */
  getsockname: { parameters: [int, pointer, pointer], result: int },
  /** int getpeername(int fd, struct sockaddr *, socklen_t *) */
  getpeername: { parameters: [int, pointer, pointer], result: int },
  /** ssize_t send(int fd, const void *, size_t, int flags) */
  send: { parameters: [int, pointer, size_t, int], result: ssize_t },
  /** ssize_t sendto(int fd, const void *, size_t, int flags, const struct sockaddr *, socklen_t) */
  sendto: { parameters: [int, pointer, size_t, int, pointer, socklen_t], result: ssize_t },
  /** ssize_t sendmsg(int fd, const struct msghdr *, int flags) */
  sendmsg: { parameters: [int, pointer, int], result: ssize_t },
  /** ssize_t recv(int fd, void *, size_t, int flags) */
  recv: { parameters: [int, pointer, size_t, int], result: ssize_t },
  /** ssize_t recvfrom(int fd, void *, size_t, int flags, struct sockaddr *, socklen_t *) */
  recvfrom: { parameters: [int, pointer, size_t, int, pointer, pointer], result: ssize_t },
  /** ssize_t recvmsg(int fd, struct msghdr *, int flags) */
  recvmsg: { parameters: [int, pointer, int], result: ssize_t },

  /** int open(const char *path, int flags, mode_t mode) */
  open: { parameters: [pointer, int, unsigned], result: int },
  /** int close(int fd) */
  close: { parameters: [int], result: int },
  /** ssize_t read(int fd, void *, size_t) */
  read: { parameters: [int, pointer, size_t], result: ssize_t },
  /** ssize_t write(int fd, const void *, size_t) */
  write: { parameters: [int, pointer, size_t], result: ssize_t },
  /** int fcntl(int fd, int command, int argument) */
  fcntl: { parameters: [int, int, int], result: int },
  /** int pipe2(int fds[2], int flags) */
  pipe2: { parameters: [pointer, int], result: int },
  /** int eventfd(unsigned initial, int flags) */
  eventfd: { parameters: [unsigned, int], result: int },
  /** int ioctl(int fd, unsigned long request, void *argument) */
  ioctl: { parameters: [int, unsigned_long, pointer], result: int },
  /** int ioctl(int fd, unsigned long request, int argument), for requests that take a number */
  ioctl_int: { name: "ioctl", parameters: [int, unsigned_long, int], result: int },
  /** mode_t umask(mode_t) */
  umask: { parameters: [unsigned], result: unsigned },
  /** int chmod(const char *path, mode_t) */
  chmod: { parameters: [pointer, unsigned], result: int },

  /** int poll(struct pollfd *, nfds_t, int timeoutMs) */
  poll: { parameters: [pointer, unsigned_long, int], result: int },
  /** int epoll_create1(int flags) */
  epoll_create1: { parameters: [int], result: int },
  /** int epoll_ctl(int epfd, int op, int fd, struct epoll_event *) */
  epoll_ctl: { parameters: [int, int, int, pointer], result: int },
  /** int epoll_wait(int epfd, struct epoll_event *, int max, int timeoutMs) */
  epoll_wait: { parameters: [int, pointer, int, int], result: int },
  epoll_wait_parked: { name: "epoll_wait", parameters: [int, pointer, int, int], result: int, nonblocking: true },

  /** int unshare(int flags): the calling thread only */
  unshare: { parameters: [int], result: int },
  /** int setns(int fd, int nstype): the calling thread only */
  setns: { parameters: [int, int], result: int },
  /** int mount(const char *source, const char *target, const char *type, unsigned long flags, const void *options) */
  mount: { parameters: [pointer, pointer, pointer, unsigned_long, pointer], result: int },
  /** int umount2(const char *target, int flags) */
  umount2: { parameters: [pointer, int], result: int },

  /** pid_t getpid(void) */
  getpid: { parameters: [], result: int },
  /** pid_t gettid(void) */
  gettid: { parameters: [], result: int },
  /** int kill(pid_t, int signal) */
  kill: { parameters: [int, int], result: int },
  /** int prctl(int option, unsigned long, unsigned long, unsigned long, unsigned long) */
  prctl: { parameters: [int, unsigned_long, unsigned_long, unsigned_long, unsigned_long], result: int },
  /** unsigned if_nametoindex(const char *name) */
  if_nametoindex: { parameters: [pointer], result: unsigned },
} as const satisfies Deno.ForeignLibraryInterface;

type Libc = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];

let opened: Libc | undefined;
let errnoCell: Int32Array | undefined;

/** libc's functions; opens the library at the first call. */
export function libc(): Libc {
  return opened ??= Deno.dlopen("libc.so.6", SYMBOLS).symbols;
}

/** The calling thread's errno; true only right after a synchronous call that returned -1. */
export function errno(): number {
  // A worker has its own copy of this module and stays on one thread, so the address holds for its life.
  errnoCell ??= new Int32Array(Deno.UnsafePointerView.getArrayBuffer(libc().__errno_location()!, 4));
  return errnoCell[0]!;
}

/** A system call that failed. */
export class SyscallError extends Error {
  override readonly name = "SyscallError";
  /** The errno's name: "EADDRINUSE". */
  readonly code: string;
  constructor(
    /** What was called, with what helps to understand it: "bind 0.0.0.0:179". */
    readonly call: string,
    /** The positive errno. */
    readonly errno: number,
  ) {
    super(`Cannot ${call}: ${errnoText(errno)} (${errnoCode(errno)})`);
    this.code = errnoCode(errno);
  }
}

/** Returns the result of a synchronous libc call, or throws `SyscallError` with the thread's errno when it is -1. */
export function checked(call: string, result: number): number {
  if (result === -1) throw new SyscallError(call, errno());
  return result;
}

/** The text as NUL-terminated UTF-8 bytes; throws TypeError when it holds a NUL. */
export function cstring(text: string): Uint8Array<ArrayBuffer> {
  if (text.includes("\0")) throw new TypeError(`Cannot pass ${JSON.stringify(text)} to the kernel: it holds a NUL`);
  return new TextEncoder().encode(`${text}\0`);
}

/** Sets an `int` socket option; throws `SyscallError`. */
export function setSocketInt(fd: number, level: number, name: number, value: number): void {
  checked(`set socket option ${level}/${name}`, libc().setsockopt(fd, level, name, Int32Array.of(value), 4));
}

/** Reads an `int` socket option; throws `SyscallError`. */
export function getSocketInt(fd: number, level: number, name: number): number {
  const value = new Int32Array(1);
  checked(`read socket option ${level}/${name}`, libc().getsockopt(fd, level, name, value, Uint32Array.of(4)));
  return value[0]!;
}
