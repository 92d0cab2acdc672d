#!/usr/bin/env bash
# UCX 1.13.1 (Debian 12): ucp_config_modify takes TCP_KEEPIDLE, TCP_KEEPINTVL and TCP_KEEPCNT, answers UCS_OK, and has no
# effect: the sockets keep UCX's defaults. The same names in the environment (UCX_TCP_KEEPIDLE) work.
#
# One would expect: a setting that was taken is in force, or is refused.
# Millrace therefore sets the environment before it reads UCX's configuration (runtime/transport/ucx_worker.cpp), and
# data_plane_test reads the options of the sockets.
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

cat > keepalive.c <<'C'
#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <ucp/api/ucp.h>

static ucp_worker_h worker_of(ucp_context_h context) {
  ucp_worker_params_t parameters = {0};
  ucp_worker_h worker = NULL;
  ucp_worker_create(context, &parameters, &worker);
  return worker;
}

static void show_sockets(void) {
  DIR* folder = opendir("/proc/self/fd");
  for (struct dirent* entry; (entry = readdir(folder)) != NULL;) {
    const int fd = atoi(entry->d_name);
    struct sockaddr_in peer = {0};
    socklen_t size = sizeof peer;
    int on = 0, idle = 0;
    socklen_t int_size = sizeof on;
    if (getpeername(fd, (struct sockaddr*)&peer, &size) != 0 || peer.sin_family != AF_INET)
      continue;
    getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, &int_size);
    getsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, &int_size);
    if (on)
      printf("a socket is kept alive after %d s\n", idle);
  }
  closedir(folder);
}

int main(int argc, char** argv) {
  ucp_config_t* config = NULL;
  ucp_config_read(NULL, NULL, &config);
  ucp_config_modify(config, "TLS", "tcp");
  ucp_config_modify(config, "NET_DEVICES", "lo");
  if (argc > 1)
    printf("ucp_config_modify(TCP_KEEPIDLE, %s): %s\n", argv[1],
           ucs_status_string(ucp_config_modify(config, "TCP_KEEPIDLE", argv[1])));
  ucp_params_t parameters = {.field_mask = UCP_PARAM_FIELD_FEATURES, .features = UCP_FEATURE_TAG};
  ucp_context_h context = NULL;
  ucp_init(&parameters, config, &context);
  ucp_worker_h here = worker_of(context), there = worker_of(context);
  ucp_address_t* address = NULL;
  size_t size = 0;
  ucp_worker_get_address(there, &address, &size);
  ucp_ep_params_t to = {.field_mask = UCP_EP_PARAM_FIELD_REMOTE_ADDRESS | UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE,
                        .address = address,
                        .err_mode = UCP_ERR_HANDLING_MODE_PEER};
  ucp_ep_h ep = NULL;
  ucp_ep_create(here, &to, &ep);
  ucp_request_param_t plain = {0};
  ucp_tag_send_nbx(ep, "hello", 5, 1, &plain);
  for (int i = 0; i < 100000; ++i) {
    ucp_worker_progress(here);
    ucp_worker_progress(there);
  }
  show_sockets();
  return 0;
}
C
gcc -O0 -isystem unpacked/usr/include keepalive.c -L"$libraries" -lucp -lucs -lpthread -o keepalive 2>/dev/null
export LD_LIBRARY_PATH=$libraries:$libraries/ucx UCX_LOG_LEVEL=fatal UCX_KEEPALIVE_INTERVAL=inf
timeout 20 ./keepalive 1s | tee modified
UCX_TCP_KEEPIDLE=1s timeout 20 ./keepalive | tee from_environment
echo "UCX $version"
grep -q '^ucp_config_modify(TCP_KEEPIDLE, 1s): Success$' modified
grep -Eq 'kept alive after (9|10) s' modified # UCX's 10 s, as they are rounded
grep -q 'kept alive after 1 s' from_environment
echo "as recorded: the setting is taken and not in force"
