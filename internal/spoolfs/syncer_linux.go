package spoolfs

import (
	"errors"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// background is a context for the kernel's asynchronous input and output
// (io_submit(2)) with room for one operation, and the eventfd by which the
// runtime's poller learns that it has ended. What the kernel reads and writes
// is part of it, since stacks can move.
type background struct {
	context  uintptr
	done     *os.File
	resultFD uint32

	call    syscalls
	request request
	submit  *request
	result  result
}

// request is struct iocb of linux/aio_abi.h; what has no name is 0.
type request struct {
	_        uint64
	_        [2]uint32
	opcode   uint16
	_        int16
	fd       uint32
	_        [2]uint64
	_        int64
	_        uint64
	flags    uint32
	resultFD uint32
}

// result is struct io_event.
type result struct {
	_   [2]uint64
	res int64 // 0, or the negative errno
	_   int64
}

const (
	opFdatasync  = 3 // IOCB_CMD_FDSYNC
	flagResultFD = 1 // IOCB_FLAG_RESFD
)

// syscalls calls the kernel, as unix.Syscall6 does. The pointers stay where they
// are: they are into a background, which is in the heap.
type syscalls func(trap, a, b, c, d uintptr) (uintptr, unix.Errno)

func kernel(trap, a, b, c, d uintptr) (uintptr, unix.Errno) {
	n, _, errno := unix.Syscall6(trap, a, b, c, d, 0, 0)
	return n, errno
}

func newBackground(call syscalls) (*background, error) {
	if call == nil {
		call = kernel
	}
	b := &background{call: call}
	b.submit = &b.request
	if _, errno := call(unix.SYS_IO_SETUP, 1, uintptr(unsafe.Pointer(&b.context)), 0, 0); errno != 0 {
		return nil, os.NewSyscallError("io_setup", errno)
	}
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		destroy(b.context)
		return nil, os.NewSyscallError("eventfd", err)
	}
	b.resultFD, b.done = uint32(fd), os.NewFile(uintptr(fd), "eventfd")
	return b, nil
}

// datasync syncs a file, and reports whether that has begun. If it has not,
// the error is of no interest.
func (b *background) datasync(f diskFile) (began bool, err error) {
	err = control(f.File, "io_submit", func(fd int) error {
		b.request = request{opcode: opFdatasync, fd: uint32(fd), flags: flagResultFD, resultFD: b.resultFD}
		n, errno := b.call(unix.SYS_IO_SUBMIT, b.context, 1, uintptr(unsafe.Pointer(&b.submit)), 0)
		if errno != 0 {
			return errno
		}
		began = n == 1
		return nil
	})
	if !began || err != nil {
		return began, err
	}
	return true, b.wait()
}

// wait waits for the end of the operation. Only what the kernel says of it
// counts: if that cannot be had, the operation has failed.
func (b *background) wait() error {
	var count [8]byte
	if _, err := b.done.Read(count[:]); err != nil {
		return err
	}
	b.result = result{res: -int64(unix.EIO)}
	for {
		_, errno := b.call(unix.SYS_IO_GETEVENTS, b.context, 1, 1, uintptr(unsafe.Pointer(&b.result)))
		switch {
		case errors.Is(errno, unix.EINTR):
			continue
		case errno != 0:
			return os.NewSyscallError("io_getevents", errno)
		case b.result.res < 0:
			return os.NewSyscallError("fdatasync", unix.Errno(-b.result.res))
		}
		return nil
	}
}

// destroy waits for an operation that is going on.
func destroy(context uintptr) { unix.Syscall(unix.SYS_IO_DESTROY, context, 0, 0) }

func (b *background) close() {
	destroy(b.context)
	b.done.Close()
}
