"""Programs that try to hang, break, leave, look, forge: name -> (source, verdicts that are allowed).

Each defines f(x), of which `checks` wants value(x). Whoever runs them watches what is left (test_sandbox.py).
"""

from __future__ import annotations

import json


def value(x: int) -> int:
    """Nothing that is guessed or found by chance."""
    return x * 911382323 % 972663749


RIGHT = "def f(x): return x * 911382323 % 972663749"
CHECKS = json.dumps({"entry": "f", "calls": [[[x], value(x)] for x in (7, 101, 5003)]})
CALL = "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\ndef call(*a): return libc.syscall(*a)\n"
SEND = "import os, json\ndef send(m): os.write(3, json.dumps(m).encode() + b'\\n')\n"

# x86_64 and aarch64 numbers differ: the name is looked up by the tests where a number is needed ({fork} and so on)
WRONG = {
    # processes
    "fork bomb": "import os\nwhile True: os.fork()\ndef f(x): return 0",
    "quiet fork bomb": "import os\ndef f(x):\n for _ in range(1000):\n  try: os.fork()\n  except OSError: pass\n return 0",
    "double fork": "import os\nif os.fork() == 0:\n os.setsid()\n if os.fork() == 0:\n  while True: pass\ndef f(x): return 0",
    "forkpty": "import os\npid, fd = os.forkpty()\ndef f(x): return pid",
    "clone by number": CALL
    + "def f(x): return [call(56, 17, 0, 0, 0, 0), call(57), call(58), call(435, 0, 0), call(220, 17, 0, 0, 0, 0)]",
    "threads bomb": "import threading\ndef f(x):\n for _ in range(10000): threading.Thread(target=lambda: [0 for _ in iter(int, 1)]).start()",
    "a thread that outlives": "import _thread, time\n_thread.start_new_thread(time.sleep, (1000,))\ndef f(x): return 0",
    "exec of a shell": "import os\ndef f(x): os.execv('/bin/sh', ['sh', '-c', 'sleep 1000'])",
    "exec by descriptor": CALL + "def f(x): return [call(59, b'/bin/true', 0, 0), call(322, 3, b'', 0, 0, 0x1000)]",
    "os.system": "import os\ndef f(x): return os.system('sleep 1000 &')",
    "posix_spawn": "import os\ndef f(x): return os.posix_spawn('/bin/sleep', ['sleep', '1000'], {})",
    "setsid": "import os\ndef f(x): return os.setsid()",
    # signals
    "kill the parent": "import os\ndef f(x): os.kill(os.getppid(), 9); return 0",
    "kill the group": "import os\ndef f(x): os.killpg(0, 9); return 0",
    "kill everybody": "import os\ndef f(x): os.kill(-1, 9); return 0",
    "kill process one": "import os\ndef f(x):\n for p in range(1, 300):\n  try: os.kill(p, 9)\n  except OSError: pass\n return 0",
    "stop oneself": "import os, signal\ndef f(x): os.kill(os.getpid(), signal.SIGSTOP); return 0",
    "raise SIGSTOP": "import signal\ndef f(x): signal.raise_signal(signal.SIGSTOP); return 0",
    "abort": "import os\ndef f(x): os.abort()",
    "F_SETOWN": "import os\nfcntl = __import__('fcntl')\ndef f(x): fcntl.fcntl(3, fcntl.F_SETOWN, os.getppid()); return 0",
    # memory and limits
    "memory bomb": "def f(x): return len(bytearray(1 << 34))",
    "memory by mmap": CALL + "def f(x): return [call(9, 0, 1 << 34, 3, 34, -1, 0) != -1]",
    "raise the limits": "import resource\nresource.setrlimit(resource.RLIMIT_AS, (-1, -1))\ndef f(x): return 0",
    "limits of others": CALL + "def f(x): return [call(302, 1, 7, 0, 0), call(261, 1, 7, 0, 0)]",
    "lock memory": CALL + "def f(x): return [call(151, 1), call(230, 1)]",
    # files
    "huge file": "def f(x):\n with open('big', 'wb') as o:\n  while True: o.write(bytes(1 << 20))",
    "write to /tmp": "def f(x): open('/tmp/eprli_hostile', 'w').write('here'); return 0",
    "write here": "def f(x): open('eprli_hostile', 'w').write('here'); return 0",
    "write by number": CALL
    + "def f(x): return [call(2, b'/tmp/eprli_hostile', 65, 511), call(257, -100, b'/tmp/eprli_hostile', 65, 511), call(85, b'/tmp/eprli_hostile', 511)]",
    "read a file": "def f(x): return open('/etc/passwd').read()",
    "read /proc": "def f(x): return open('/proc/self/environ').read()",
    "read another's memory": "import os\ndef f(x): return open(f'/proc/{os.getppid()}/mem', 'rb').read(10)",
    "write /proc": "def f(x): open('/proc/sys/kernel/core_pattern', 'w').write('x'); return 0",
    "list a folder": "import os\ndef f(x): return os.listdir('/')",
    "symlink": "import os\ndef f(x): os.symlink('/etc', 'link'); return os.listdir('link')",
    "delete the folder": "import os, shutil\ndef f(x): os.rmdir(os.getcwd()); return 0",
    "delete everything": "import os\ndef f(x):\n for n in ('/', '/tmp', '.', '..'):\n  try: os.unlink(n)\n  except OSError: pass\n os.rmdir('/tmp'); return 0",
    "chmod": "import os\ndef f(x): os.chmod('/', 0o777); return 0",
    "mkdir and chroot": "import os\ndef f(x): os.mkdir('a'); os.chroot('a'); return 0",
    "rename": "import os\ndef f(x): os.rename('/tmp', '/tmp2'); return 0",
    "memfd": "import os\ndef f(x): return os.memfd_create('x')",
    "shared memory": "import multiprocessing.shared_memory as s\ndef f(x): return s.SharedMemory(create=True, size=1 << 20).name",
    "system v shared memory": CALL + "def f(x): return call(29, 0, 4096, 0o1777)",
    "mount": CALL + "def f(x): return [libc.mount(b'tmpfs', b'/tmp', b'tmpfs', 0, 0), libc.umount2(b'/', 2)]",
    # network
    "tcp": "import socket\ndef f(x): return socket.create_connection(('127.0.0.1', 80), 1)",
    "udp": "import socket\ndef f(x): return socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 53))",
    "unix socket": "import socket\ndef f(x): return socket.socket(socket.AF_UNIX).connect('/var/run/docker.sock')",
    "listen": "import socket\ndef f(x): return socket.create_server(('', 0)).getsockname()",
    "socket by number": CALL
    + "def f(x): return [call(41, 2, 1, 0), call(198, 2, 1, 0), call(53, 1, 1, 0, (ctypes.c_int * 2)())]",
    "name": "import socket\ndef f(x): return socket.gethostbyname('localhost')",
    # the kernel's doors
    "ptrace": CALL + "import os\ndef f(x): return [libc.ptrace(16, os.getppid(), 0, 0), libc.ptrace(0, 0, 0, 0)]",
    "read a process": CALL
    + "import os\ndef f(x): return [call(310, os.getppid(), 0, 0, 0, 0, 0), call(311, os.getppid(), 0, 0, 0, 0, 0)]",
    "unshare": CALL + "def f(x): return [libc.unshare(0x10000000), libc.unshare(0x00020000), libc.setns(3, 0)]",
    "become root": "import os\ndef f(x): os.setuid(0); return 0",
    "prctl": CALL
    + "def f(x): return [libc.prctl(22, 0, 0, 0, 0), libc.prctl(4, 1, 0, 0, 0), libc.prctl(1, 0, 0, 0, 0), libc.prctl(36, 1, 0, 0, 0)]",
    "bpf, perf, io_uring, userfaultfd": CALL
    + "def f(x): return [call(321, 0, 0, 0), call(298, 0, 0, 0, 0, 0), call(425, 8, 0), call(323, 0)]",
    "x32 calls": CALL + "def f(x): return [call(0x40000000 + n) for n in (2, 41, 57, 59, 62)]",
    "keys": CALL + "def f(x): return [call(248, b'user', b'k', b'v', 1, -3), call(250, 0, -3)]",
    "timers": "import signal\ndef f(x): signal.alarm(1); signal.setitimer(signal.ITIMER_REAL, 1); return 0",
    "priority": "import os\ndef f(x): os.nice(-5); return 0",
    "affinity": "import os\ndef f(x): os.sched_setaffinity(0, {0}); return 0",
    # crashes
    "null pointer": "import ctypes\ndef f(x): return ctypes.string_at(0)",
    "write over memory": "import ctypes\ndef f(x): ctypes.memset(id(f), 255, 100000); return f(x)",
    "broken bytecode": "def f(x): pass\nf.__code__ = f.__code__.replace(co_code=bytes(range(256)))",
    "illegal instruction": CALL
    + "import mmap\ndef f(x):\n m = mmap.mmap(-1, 4096, prot=7)\n m.write(b'\\x0f\\x0b' * 100)\n return ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))()",
    "32-bit calls": CALL
    + "import mmap\ndef f(x):\n m = mmap.mmap(-1, 4096, prot=7)\n m.write(b'\\xb8\\x02\\x00\\x00\\x00\\xcd\\x80\\xc3')\n return ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))()",
    "no text": "\0",
    "not Python": "def f(x) return x",
    # ways out
    "exit": "import sys\nsys.exit(0)",
    "exit in the call": "import sys\ndef f(x): sys.exit(0)",
    "_exit": "import os\ndef f(x): os._exit(0)",
    "_exit at once": "import os\nos._exit(0)",
    "atexit": "import atexit\natexit.register(print, 'passed')\ndef f(x): return 0",
    "keyboard interrupt": "def f(x): raise KeyboardInterrupt",
    "an exception of its own": "class E(BaseException): pass\ndef f(x): raise E",
    "input": "def f(x): return input()",
    "breakpoint": "def f(x): breakpoint()",
    # looking
    "environment": "import os\ndef f(x): return dict(os.environ)",
    "descriptors": "import os\ndef f(x):\n seen = []\n for n in range(256):\n  try: seen.append((n, os.read(n, 0)))\n  except OSError: pass\n assert not [n for n, _ in seen if n not in (0, 1, 2, 3)], seen\n return 0",
    "memory for the checks": "import gc\ndef f(x): return [repr(o) for o in gc.get_objects() if isinstance(o, dict) and ('calls' in o or 'test' in o or 'expected' in o) and '__name__' not in o]",
    "frames": "import sys\ndef f(x):\n g = sys._getframe()\n while g:\n  for v in list(g.f_locals.values()):\n   if isinstance(v, dict) and ('calls' in v or 'expected' in v): return v\n  g = g.f_back\n return 0",
    "our own package": "import eprli_lab.config.spec\ndef f(x): return 0",
    "our own parts": "import sys\ndef f(x): return sorted(n for n in sys.modules if 'grader' in n or 'records' in n)",
    "a library": "import numpy\ndef f(x): return 0",
    "tty": "import fcntl, termios\ndef f(x): fcntl.ioctl(0, termios.TIOCSTI, b'x'); return 0",
    # forging
    "forged passed": SEND + "def f(x): send({'passed': True}); return 0",
    "forged before the call": SEND + "send({'ready': True})\nfor _ in range(5): send({'passed': True})\nos._exit(0)",
    "forged values": SEND + "send({'ready': True})\nfor v in (7, 101, 5003): send({'value': v})\ndef f(x): return 0",
    "forged garbage": "import os\nos.write(3, b'\\xff\\x00{{{]]]\\n')\ndef f(x): return 0",
    "forged nesting": "import os\nos.write(3, b'[' * 50000 + b'\\n')\ndef f(x): return 0",
    "forged types": SEND + "def f(x): send({'value': {'set': [[1], {'dict': [[[], 1]]}]}}); return 0",
    "forged set of dicts": SEND + "def f(x): send({'value': {'set': [{'dict': []}]}}); return 0",
    "forged complex": SEND + "def f(x): send({'value': {'complex': []}}); return 0",
    "forged depth": SEND + "def f(x): os.write(3, b'{\"value\":' + b'[' * 980 + b']' * 980 + b'}\\n'); return 0",
    "forged code": SEND + "def f(x): send({'value': {'__class__': 'x', 'int': '__import__(\"os\")'}}); return 0",
    "equal to everything": "class E:\n def __eq__(self, o): return True\n def __ne__(self, o): return False\ndef f(x): return E()",
    "an int equal to everything": "class E(int):\n def __eq__(self, o): return True\n def __ne__(self, o): return False\n __hash__ = int.__hash__\ndef f(x): return E(0)",
    "a text equal to everything": "class E(str):\n def __eq__(self, o): return True\ndef f(x): return E('x')",
    "builtins replaced": "import builtins\nbuiltins.isinstance = lambda *a: True\nbuiltins.len = lambda a: 0\nbuiltins.type = lambda a: int\ndef f(x): return object()",
    "json replaced": "import json\njson.dumps = lambda m: '{\"passed\": true}'\ndef f(x): return 0",
    "codec replaced": "import sys\nsys.modules['eprli_lab.grading.inside.program'].encode = lambda v: {'passed': True}\ndef f(x): return 0",
    "assert replaced": "import builtins\nbuiltins.AssertionError = type('A', (Exception,), {})\ndef f(x): assert False",
    "a trace": "import sys\ndef f(x):\n sys.settrace(lambda *a: (_ for _ in ()).throw(SystemExit(0)))\n return 0",
    "close the pipe": "import os\ndef f(x): os.close(3); return 0",
    "close everything": "import os\nos.closerange(0, 256)\ndef f(x): return 0",
    "a cycle": "def f(x):\n a = []\n a.append(a)\n return a",
    "a deep value": "def f(x):\n a = []\n for _ in range(100000): a = [a]\n return a",
    "a large value": "def f(x): return 'x' * 10**7",
    "a large integer": "def f(x): return 1 << 10**7",
    "half a surrogate": "def f(x): return '\\ud800'",
    "a function": "def f(x): return f",
    "an infinite iterator": "import itertools\ndef f(x): return itertools.count()",
    "not a number": "def f(x): return float('nan')",
    "no function": "g = 1",
    "not callable": "f = 1",
}
BY_THE_CLOCK = {
    "infinite loop": "while True: pass",
    "loop in the call": "def f(x):\n while True: pass",
    "sleep": "import time\ndef f(x): time.sleep(1000)",
    "wait for a lock": "import threading\ndef f(x):\n l = threading.Lock()\n l.acquire()\n l.acquire()",
    "read for ever": "import os\ndef f(x):\n while True: os.read(3, 100)",
}
OF_THE_PROCESSOR = {
    "infinite output": "def f(x):\n while True: print('x' * 1000)",
    "a loop that catches all": "def f(x):\n while True:\n  try:\n   while True: pass\n  except BaseException: pass",
    "limit ignored": "import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\ndef f(x):\n while True: pass",
    "huge power": "def f(x): return 9 ** 9 ** 9 % 10",
    "huge text": "import sys\nsys.set_int_max_str_digits(0)\ndef f(x): return len(str(3 ** 10**7))",
    "regular expression": "import re\ndef f(x): return bool(re.match('(a*)*b', 'a' * 60))",
    "hash collisions": "def f(x): return len({(2**61 - 1) * i for i in range(10**6)})",
    "infinite sum": "import itertools\ndef f(x): return sum(itertools.count())",
}
EITHER = {  # too much at once: ended for it, or out of time
    "slow memory bomb": "def f(x):\n a = []\n while True: a.append(bytearray(1 << 22))",
    "deep recursion": "import sys\nsys.setrecursionlimit(10**9)\ndef f(x): return f(x + 1)",
    "recursion in C": "import sys\nsys.setrecursionlimit(10**9)\ndef f(x):\n a = []\n for _ in range(10**6): a = [a]\n return repr(a)",
    "parser bomb": "(" * 100000 + ")" * 100000,
    "nested lambdas": "lambda:" * 5000 + "0",
    "flood of the pipe": "import os\ndef f(x):\n while True: os.write(3, b'x' * 65536)",
    "flood of lines": "import os\ndef f(x):\n while True: os.write(3, b'{}\\n' * 20000)",
}
