#pragma once

namespace millrace::cluster {

/// Makes one TLS connection's error end that connection alone.
///
/// OpenSSL keeps one queue of errors a thread, and SSL_get_error takes what lies in it for the error of the call
/// before. Whoever reads or writes must therefore find it empty (SSL_get_error(3)). CAF 0.17 serves all connections on
/// one thread and empties the queue only where its log is compiled in, which Debian's is not: a peer that is killed, or
/// a stranger who is refused, would end every other connection too. So SSL_read and SSL_write of this program empty it
/// first; they are part of any program that refers to this function. SSL_read also asks whether CAF may have what has
/// come (`access::may_have`).
void keep_tls_errors_apart();

} // namespace millrace::cluster
