// net/tls_context.h — what TLS connections of one kind share: role, own certificate, whom to trust.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "net/error.h"

struct mbedtls_ssl_config;
struct mbedtls_x509_crt;

namespace mirrord::net {

enum class TlsRole { kClient, kServer };

// All certificates and keys are PEM texts.
struct TlsOptions {
  TlsRole role = TlsRole::kClient;
  // Whom to believe: certificates of authorities, or the peer's very own. As a server: empty means
  // that clients show no certificate; otherwise they must. As a client it must not be empty.
  std::string trusted;
  // Instead: any certificate will do. As a server: clients are asked for one, and need not have it.
  bool accepts_any = false;
  // Client, instead: the very certificate that the server must show, the first one here.
  std::string expected;
  // Server: a client without a certificate is let in beside `trusted`.
  bool is_peer_optional = false;
  bool trusts_first_only = false;  // only the first certificate of `trusted`, whatever follows
  std::string certificate, key;    // what we show: the chain, leaf first, and its key; may be empty
  std::string peer_name;           // client: asked for and checked (DNS or IP); empty: any name
  std::vector<std::string> alpn;   // protocols, the liked best first; empty: no ALPN
};

// Immutable, shared by its connections, of one thread.
class TlsContext {
 public:
  // Fails on texts that are not what they should be, and says which.
  static Result<std::shared_ptr<TlsContext>> make(TlsOptions options);
  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

  [[nodiscard]] const TlsOptions& options() const;
  [[nodiscard]] const mbedtls_ssl_config* config() const;
  // Whether `options().expected` is empty, or is this certificate of the peer's (null: it has shown none).
  [[nodiscard]] bool is_expected(const mbedtls_x509_crt* shown) const;

 private:
  TlsContext();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// A certificate and its key, PEM texts.
struct TlsIdentity {
  std::string certificate, key;
};

// A new ECDSA P-256 key and a certificate of its own for it: valid for a year from now (and for some
// time back, for clocks that differ), as a server, for the DNS name `name`.
Result<TlsIdentity> make_tls_identity(const std::string& name);

// The first DNS or IP name that the first certificate in `pem` is for; empty when it names none.
Result<std::string> first_certificate_name(const std::string& pem);

// "tried: what mbedTLS says".
Error tls_error(std::string_view tried, int code);

}  // namespace mirrord::net
