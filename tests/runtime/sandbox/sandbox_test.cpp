#include "runtime/sandbox/sandbox.hpp"
#include "tests/runtime/sandbox/usable.hpp"
#include "tests/support/temporary_folder.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>
#include <vector>

namespace sandbox_test {

using namespace millrace;
using namespace millrace::sandbox;
using std::chrono::milliseconds;
using tests::has_sandboxes;

namespace {

outcome python(const std::string& script, bounds most = {}, const std::string& input = "") {
  static const sandbox::sandbox box(1);
  return box.run({.command = {"python3", "-I", "-c", script}, .input = input, .most = most});
}

/// What a program prints that says of each of these actions how it ends.
std::string said(const std::string& actions) {
  const std::string script = "import os, signal, socket, sys\n"
                             "def tried(name, action):\n"
                             "    try:\n"
                             "        print(name, action())\n"
                             "    except Exception as error:\n"
                             "        print(name, type(error).__name__)\n"
                             + actions;
  const auto found = python(script);
  CHECK(found.err == "");
  return found.out;
}

} // namespace

TEST_CASE("a program gets its input, and its output and exit come back") {
  if (!has_sandboxes())
    return;
  const auto found =
      python("import sys; sys.stderr.write('e' * 3); print(sys.stdin.read().upper()); sys.exit(7)", {}, "abc");
  CHECK(found.out == "ABC\n");
  CHECK(found.err == "eee");
  CHECK(found.status == 7);
  CHECK(found.hit == bound::none);
  CHECK(found.wall > milliseconds(1));
  CHECK(found.cpu > milliseconds(1));
}

TEST_CASE("an input of megabytes passes, and one that nobody reads hurts nobody") {
  if (!has_sandboxes())
    return;
  const std::string input(3000000, 'i');
  CHECK(python("import sys; print(len(sys.stdin.read()))", {}, input).out == "3000000\n");
  CHECK(python("print('done')", {}, input).out == "done\n");
}

TEST_CASE("a signal is a status above 128") {
  if (!has_sandboxes())
    return;
  CHECK(python("import os; child = os.fork()\n"
               "if child == 0: os.abort()\n"
               "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))")
            .out
        == "-6\n");
}

TEST_CASE("a program that is not there is a failure of its own and no exit") {
  if (!has_sandboxes())
    return;
  const sandbox::sandbox box(1);
  const auto found = box.run({.command = {"no-such-program"}});
  CHECK(found.status == 127);
  CHECK(found.err.find("no-such-program") != std::string::npos);
  CHECK_THROWS_AS(box.run({.command = {"true"}, .folders = {"/no/such/folder"}}), sandbox_failure);
}

TEST_CASE("a program is ended at its deadline, whatever it does about signals") {
  if (!has_sandboxes())
    return;
  const auto found = python("import signal, time\nfor s in (1, 2, 13, 14, 15): signal.signal(s, signal.SIG_IGN)\n"
                            "print('started', flush=True)\ntime.sleep(60)",
                            {.time = milliseconds(500)});
  CHECK(found.hit == bound::time);
  CHECK(found.out == "started\n");
  CHECK(found.status == 137);
  CHECK(found.wall >= milliseconds(500));
  CHECK(found.wall < milliseconds(5000));
}

TEST_CASE("more output than its bound ends the program") {
  if (!has_sandboxes())
    return;
  for (const std::string stream : {"stdout", "stderr"}) {
    const auto found =
        python("import sys\nwhile True: sys." + stream + ".write('x' * 65536)", {.output_bytes = 100000});
    CHECK(found.hit == bound::output);
    CHECK((stream == "stdout" ? found.out : found.err).size() == 100000);
  }
}

TEST_CASE("memory is bounded") {
  if (!has_sandboxes())
    return;
  const bounds most{.memory_bytes = std::int64_t{200} << 20};
  CHECK(python("try:\n  bytearray(300 << 20)\nexcept MemoryError: print('refused')", most).out == "refused\n");
  CHECK(python("print(len(bytearray(100 << 20)))", most).out == "104857600\n");
}

TEST_CASE("processes are bounded, for root as well") {
  if (!has_sandboxes())
    return;
  const auto found = python("import os, time\nforks = 0\ntry:\n  while forks < 100:\n"
                            "    if os.fork() == 0: time.sleep(60); os._exit(0)\n    forks += 1\n"
                            "except OSError as error: print(forks, type(error).__name__)",
                            {.processes = 12});
  CHECK(found.out == "11 BlockingIOError\n");
}

TEST_CASE("another sandbox's processes do not count") {
  if (!has_sandboxes())
    return;
  const sandbox::sandbox box(3);
  const std::string script = "import os, time\nfor _ in range(9):\n  if os.fork() == 0: time.sleep(60); os._exit(0)\n"
                             "time.sleep(0.5); print('ok')";
  std::vector<std::string> out(3);
  std::vector<std::thread> threads;
  for (auto& into : out)
    threads.emplace_back([&] {
      into = box.run({.command = {"python3", "-I", "-c", script}, .most = {.processes = 10}}).out;
    });
  for (auto& thread : threads)
    thread.join();
  CHECK(out == std::vector<std::string>(3, "ok\n"));
}

TEST_CASE("files are bounded: each, together, and where they may be") {
  if (!has_sandboxes())
    return;
  const bounds most{.file_bytes = 3 << 20, .disk_bytes = 8 << 20};
  const std::string fill = "import os\ndef fill(folder):\n  total, n = 0, 0\n  try:\n    while total < 100 << 20:\n"
                           "      with open(folder + '/' + str(n), 'wb', buffering=0) as f:\n"
                           "        n += 1\n        for _ in range(2): total += f.write(bytes(1 << 20))\n"
                           "  except OSError as error: return str(total >> 20) + ' ' + str(error.errno)\n";
  CHECK(python(fill + "print(fill('/tmp')); print(fill('/dev/shm'))", most).out == "8 28\n8 28\n");
  CHECK(python("f = open('/tmp/x', 'wb', buffering=0)\ntry:\n  while True: f.write(bytes(1 << 20))\n"
               "except OSError as error: print(f.tell() >> 20, error.errno)",
               most)
            .out
        == "3 27\n");
  CHECK(said("for place in ('/x', '/dev/x', '/usr/x', '/usr/bin/x', '/etc/x'):\n"
             "    tried(place, lambda: open(place, 'w'))\n")
        == "/x OSError\n/dev/x OSError\n/usr/x OSError\n/usr/bin/x OSError\n/etc/x OSError\n");
}

TEST_CASE("what a program wrote is not there for the next one") {
  if (!has_sandboxes())
    return;
  python("open('/tmp/left', 'w').write('x')");
  CHECK(python("import os; print(os.getcwd(), os.listdir('/tmp'))").out == "/tmp []\n");
}

TEST_CASE("no home, no users, no secrets, no other processes") {
  if (!has_sandboxes())
    return;
  ::setenv("MILLRACE_TEST_SECRET", "4711", 1);
  const char* const home = std::getenv("HOME");
  CHECK(said("tried('users', lambda: open('/etc/passwd').read())\n"
             "tried('environment', lambda: sorted(os.environ))\n"
             "tried('process 1', lambda: open('/proc/1/environ', 'rb').read())\n"
             "tried('homes', lambda: [os.path.exists(p) for p in ('/home', '/root', '"
             + std::string(home && *home ? home : "/root")
             + "')])\n"
               "tried('me', lambda: (os.getpid(), os.getuid(), os.getgid()))\n")
        == "users FileNotFoundError\n"
           "environment ['HOME', 'LANG', 'OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'PATH', 'PWD']\n"
           "process 1 FileNotFoundError\nhomes [False, False, False]\nme (1, 65534, 65534)\n");
  ::unsetenv("MILLRACE_TEST_SECRET");
}

TEST_CASE("descriptors of this process are not the program's") {
  if (!has_sandboxes())
    return;
  int ends[2];
  REQUIRE(pipe(ends) == 0); // without close-on-exec, as libraries open theirs
  CHECK(said("def open_ones():\n    found = []\n    for n in range(64):\n        try: os.fstat(n); found.append(n)\n"
             "        except OSError: pass\n    return found\ntried('open', open_ones)\n")
        == "open [0, 1, 2]\n");
  close(ends[0]);
  close(ends[1]);
}

TEST_CASE("a listener of this machine is not reached") {
  if (!has_sandboxes())
    return;
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  sockaddr_in address{.sin_family = AF_INET, .sin_port = 0, .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_zero = {}};
  REQUIRE(bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  REQUIRE(listen(listener, 4) == 0);
  socklen_t length = sizeof address;
  getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length);
  CHECK(said("tried('loopback', lambda: socket.create_connection(('127.0.0.1', "
             + std::to_string(ntohs(address.sin_port))
             + "), 2))\n"
               "tried('elsewhere', lambda: socket.create_connection(('192.0.2.1', 80), 2))\n")
        == "loopback ConnectionRefusedError\nelsewhere OSError\n");
  CHECK(accept(listener, nullptr, nullptr) == -1);
  CHECK(errno == EAGAIN);
  close(listener);
}

TEST_CASE("signals reach nobody outside") {
  if (!has_sandboxes())
    return;
  CHECK(said("tried('parent', lambda: os.getppid())\n"
             "tried('this process', lambda: os.kill("
             + std::to_string(getpid())
             + ", signal.SIGTERM))\n"
               "tried('everybody', lambda: os.kill(-1, signal.SIGKILL))\n")
        == "parent 0\nthis process ProcessLookupError\neverybody ProcessLookupError\n");
}

TEST_CASE("no process is left over, not even a daemon or one to be reaped") { // SB-1
  if (!has_sandboxes())
    return;
  REQUIRE(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0); // whatever is left over becomes this process's child
  python("import os, time\nif os.fork() == 0:\n  os.setsid()\n  if os.fork() == 0: time.sleep(60)\n  os._exit(0)\n"
         "os.wait(); print('left')");
  python("import os, time\nfor _ in range(5):\n  if os.fork() == 0: time.sleep(60)\ntime.sleep(60)",
         {.time = milliseconds(300)});
  python("import os\nwhile True: os.write(1, b'x' * 65536)", {.output_bytes = 1000});
  CHECK(waitpid(-1, nullptr, WNOHANG) == -1);
  CHECK(errno == ECHILD);
  prctl(PR_SET_CHILD_SUBREAPER, 0);
}

TEST_CASE("several programs run at once, each in a slot, and more wait") {
  if (!has_sandboxes())
    return;
  const sandbox::sandbox box(2);
  CHECK(box.slots() == 2);
  std::vector<std::string> out(6);
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < out.size(); ++i)
    threads.emplace_back([&, i] { out[i] = box.run({.command = {"echo", std::to_string(i)}}).out; });
  for (auto& thread : threads)
    thread.join();
  CHECK(out == std::vector<std::string>{"0\n", "1\n", "2\n", "3\n", "4\n", "5\n"});
}

TEST_CASE("without bubblewrap nothing is run, and one line says so") { // SB-2
  const sandbox::sandbox box(1, "");
  CHECK(box.unusable() == "found no bubblewrap (bwrap) in PATH, want it to run programs: apt-get install bubblewrap");
  CHECK_THROWS_AS(box.run({.command = {"true"}}), sandbox_failure);
}

TEST_CASE("a bubblewrap that fails says why, and nothing is run") { // SB-2
  const tests::temporary_folder folder;
  const auto file = folder / "bwrap";
  std::ofstream(file) << "#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n";
  std::filesystem::permissions(folder.path(), std::filesystem::perms(0755));
  std::filesystem::permissions(file, std::filesystem::perms(0755));
  CHECK(sandbox::sandbox(1, file).unusable() == "bwrap: No permissions to create new namespace");
  CHECK(sandbox::sandbox(1, "/bin/false").unusable() == "bubblewrap ended before the program");
  CHECK(sandbox::sandbox(1, "/no/such/bwrap").unusable().find("bubblewrap") != std::string::npos);
}

TEST_CASE("a sandbox has slots") {
  CHECK_THROWS_AS(sandbox::sandbox(0), std::invalid_argument);
}

} // namespace sandbox_test
