#!/usr/bin/env bash
# UCX 1.13.1 (Debian 12): a worker whose UCX_TCP_PORT_RANGE is one port binds it without SO_REUSEADDR. So a process that
# is started again after its end finds its port busy: ucp_worker_create fails as long as the kernel remembers a
# connection of the process before (TIME_WAIT, a minute).
#
# One would expect: a listening socket at a port that was given has SO_REUSEADDR, as those of servers have, and the next
# process gets the port at once.
# Millrace therefore sets the option before each bind of its process (runtime/access/socket_calls.cpp), and node_test
# starts a process again in a range of one port.
set -euo pipefail
version=1.13.1-1
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
cd "$here"
for package in libucx-dev libucx0; do
  apt-get download -qq "$package=$version" >/dev/null
done
for package in *.deb; do dpkg -x "$package" unpacked; done
libraries=$here/unpacked/usr/lib/$(gcc -dumpmachine)

cat > port.c <<'C'
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <ucp/api/ucp.h>
#include <unistd.h>

static ucp_worker_h worker_at(const char* port, ucs_status_t* status) {
  if (port)
    setenv("UCX_TCP_PORT_RANGE", port, 1);
  ucp_config_t* config = NULL;
  ucp_config_read(NULL, NULL, &config);
  ucp_config_modify(config, "TLS", "tcp");
  ucp_config_modify(config, "NET_DEVICES", "lo");
  ucp_params_t parameters = {.field_mask = UCP_PARAM_FIELD_FEATURES, .features = UCP_FEATURE_TAG};
  ucp_context_h context = NULL;
  ucp_init(&parameters, config, &context);
  ucp_worker_params_t plain = {0};
  ucp_worker_h worker = NULL;
  *status = ucp_worker_create(context, &plain, &worker);
  return worker;
}

/// A process whose worker listens at the port. It writes what became of that, then its address.
static pid_t listener(const char* port, int to) {
  const pid_t pid = fork();
  if (pid != 0)
    return pid;
  ucs_status_t status = UCS_OK;
  ucp_worker_h worker = worker_at(port, &status);
  write(to, &status, sizeof status);
  if (status != UCS_OK)
    _exit(0);
  for (int fd = 0; fd < 64; ++fd) {
    int listens = 0, reuse = 0;
    socklen_t size = sizeof listens;
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) == 0 && listens) {
      getsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &reuse, &size);
      printf("a listening socket has SO_REUSEADDR %d\n", reuse);
      fflush(stdout);
    }
  }
  ucp_address_t* address = NULL;
  size_t size = 0;
  ucp_worker_get_address(worker, &address, &size);
  write(to, &size, sizeof size);
  write(to, address, size);
  for (;;)
    ucp_worker_progress(worker);
}

int main(int argc, char** argv) {
  if (argc != 2)
    return 2;
  int line[2];
  pipe(line);
  ucs_status_t status = UCS_OK;
  const pid_t first = listener(argv[1], line[1]);
  read(line[0], &status, sizeof status);
  printf("first process: %s\n", ucs_status_string(status));
  fflush(stdout);
  size_t size = 0;
  read(line[0], &size, sizeof size);
  ucp_address_t* address = malloc(size);
  read(line[0], address, size);
  ucp_worker_h here = worker_at(NULL, &status);
  ucp_ep_params_t to = {.field_mask = UCP_EP_PARAM_FIELD_REMOTE_ADDRESS | UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE,
                        .address = address,
                        .err_mode = UCP_ERR_HANDLING_MODE_PEER};
  ucp_ep_h ep = NULL;
  ucp_ep_create(here, &to, &ep);
  ucp_request_param_t plain = {0};
  ucp_tag_send_nbx(ep, "hello", 5, 1, &plain);
  for (int i = 0; i < 100000; ++i)
    ucp_worker_progress(here);
  kill(first, SIGKILL);
  waitpid(first, NULL, 0);
  for (int i = 0; i < 1000000; ++i) // the connection is closed here, too
    ucp_worker_progress(here);
  const pid_t second = listener(argv[1], line[1]);
  read(line[0], &status, sizeof status);
  printf("the next process at the same port: %s\n", ucs_status_string(status));
  kill(second, SIGKILL);
  waitpid(second, NULL, 0);
  return 0;
}
C
gcc -O0 -isystem unpacked/usr/include port.c -L"$libraries" -lucp -lucs -lpthread -o port 2>/dev/null
export LD_LIBRARY_PATH=$libraries:$libraries/ucx UCX_LOG_LEVEL=fatal UCX_KEEPALIVE_INTERVAL=inf
timeout 60 ./port $((20000 + RANDOM % 10000)) | tee seen # one that no earlier run has used
echo "UCX $version"
grep -q '^first process: Success$' seen
grep -q '^a listening socket has SO_REUSEADDR 0$' seen
grep -Eq '^the next process at the same port: ' seen
! grep -q '^the next process at the same port: Success$' seen
echo "as recorded: the port of a process that has died is busy"
