#include "runtime/cluster/tls_error_queue.hpp"

#include "runtime/access/checked_streams.hpp"

#include <dlfcn.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <cerrno>

namespace {

template <class Function>
Function* in_libssl(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

} // namespace

// The program's symbols come before a library's: libcaf_openssl calls these two.

extern "C" int SSL_read(SSL* connection, void* to, int bytes) {
  static const auto original = in_libssl<int(SSL*, void*, int)>("SSL_read");
  ERR_clear_error();
  const int got = original(connection, to, bytes);
  if (got > 0
      && !millrace::access::may_have(SSL_get_fd(connection),
                                     {static_cast<const std::byte*>(to), static_cast<std::size_t>(got)})) {
    errno = ECONNRESET;
    return -1;
  }
  return got;
}

extern "C" int SSL_write(SSL* connection, const void* from, int bytes) {
  static const auto original = in_libssl<int(SSL*, const void*, int)>("SSL_write");
  ERR_clear_error();
  return original(connection, from, bytes);
}

namespace millrace::cluster {

void keep_tls_errors_apart() {
}

} // namespace millrace::cluster
