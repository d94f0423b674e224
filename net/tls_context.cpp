// net/tls_context.cpp — mbedTLS configurations from PEM texts, and certificates made on the spot.
#include "net/tls_context.h"

#include <arpa/inet.h>
#include <mbedtls/ecp.h>
#include <mbedtls/entropy.h>
#include <mbedtls/error.h>
#include <mbedtls/oid.h>
#include <mbedtls/pk.h>
#include <mbedtls/ssl.h>
#include <mbedtls/x509_crt.h>
#include <psa/crypto.h>
#include <sys/random.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

namespace mirrord::net {
namespace {

constexpr std::size_t kMaxPem = 1 << 20;
constexpr time_t kDay = 24 * 60 * 60;

// The kernel's generator needs no state and no seed.
int random_bytes(void*, unsigned char* out, std::size_t size) {
  while (size > 0) {
    const ssize_t count = ::getrandom(out, size, 0);
    if (count < 0 && errno != EINTR) {
      return MBEDTLS_ERR_ENTROPY_SOURCE_FAILED;
    }
    const auto made = static_cast<std::size_t>(std::max<ssize_t>(count, 0));
    out += made;
    size -= made;
  }
  return 0;
}

struct Certificates {
  mbedtls_x509_crt chain;
  Certificates() { mbedtls_x509_crt_init(&chain); }
  ~Certificates() { mbedtls_x509_crt_free(&chain); }
  Certificates(const Certificates&) = delete;
  Certificates& operator=(const Certificates&) = delete;
};

struct Key {
  mbedtls_pk_context pk;
  Key() { mbedtls_pk_init(&pk); }
  ~Key() { mbedtls_pk_free(&pk); }
  Key(const Key&) = delete;
  Key& operator=(const Key&) = delete;
};

const unsigned char* bytes(const std::string& text) {
  return reinterpret_cast<const unsigned char*>(text.c_str());
}

Status parse(Certificates& into, const std::string& pem, std::string_view what) {
  // PEM is told from DER by its terminating zero, which belongs to the length.
  const int code = pem.size() > kMaxPem
                       ? MBEDTLS_ERR_X509_INVALID_FORMAT
                       : mbedtls_x509_crt_parse(&into.chain, bytes(pem), pem.size() + 1);
  if (code < 0) {
    return std::unexpected(tls_error("read " + std::string(what), code));
  }
  if (code > 0) {
    return fail(ErrorCode::kConfig, "read " + std::string(what) + ": " + std::to_string(code) +
                                        " of its certificates cannot be understood");
  }
  return {};
}

std::string first_pem(const std::string& pem) {
  constexpr std::string_view kEnd = "-----END CERTIFICATE-----";
  const std::size_t end = pem.find(kEnd);
  return end == std::string::npos ? pem : pem.substr(0, end + kEnd.size()) + "\n";
}

int verification_of(const TlsOptions& options) {
  // A server that verifies nothing does not ask clients for a certificate.
  if (options.accepts_any || !options.expected.empty())
    return options.role == TlsRole::kServer ? MBEDTLS_SSL_VERIFY_OPTIONAL : MBEDTLS_SSL_VERIFY_NONE;
  if (options.trusted.empty())
    return MBEDTLS_SSL_VERIFY_NONE;
  return options.is_peer_optional ? MBEDTLS_SSL_VERIFY_OPTIONAL : MBEDTLS_SSL_VERIFY_REQUIRED;
}

// The connection keeps what its client asks for, if it wants to.
int note_server_name(void*, mbedtls_ssl_context* ssl, const unsigned char* name, std::size_t size) {
  if (auto* kept = static_cast<std::string*>(mbedtls_ssl_get_user_data_p(ssl)))
    kept->assign(reinterpret_cast<const char*>(name), size);
  return 0;
}

}  // namespace

Error tls_error(std::string_view tried, int code) {
  std::array<char, 160> text{};
  mbedtls_strerror(code, text.data(), text.size());
  return {ErrorCode::kPeer, std::string(tried) + ": " + text.data(), {}, 0};
}

struct TlsContext::Impl {
  TlsOptions options;
  mbedtls_ssl_config config;
  Certificates trusted, own, expected;
  Key key;
  std::vector<const char*> alpn;

  Impl() { mbedtls_ssl_config_init(&config); }
  ~Impl() { mbedtls_ssl_config_free(&config); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
};

TlsContext::TlsContext() : impl_(std::make_unique<Impl>()) {}
TlsContext::~TlsContext() = default;
const TlsOptions& TlsContext::options() const {
  return impl_->options;
}
const mbedtls_ssl_config* TlsContext::config() const {
  return &impl_->config;
}

bool TlsContext::is_expected(const mbedtls_x509_crt* shown) const {
  if (impl_->options.expected.empty()) {
    return true;
  }
  const auto raw = [](const mbedtls_x509_crt& certificate) {
    return std::string_view(reinterpret_cast<const char*>(certificate.raw.p), certificate.raw.len);
  };
  return shown != nullptr && raw(*shown) == raw(impl_->expected.chain);
}

Result<std::shared_ptr<TlsContext>> TlsContext::make(TlsOptions options) {
  // The fastest in this library first: its AES does one block at a time, also with instructions for it.
  static constexpr int kCiphers[] = {MBEDTLS_TLS1_3_CHACHA20_POLY1305_SHA256,
                                     MBEDTLS_TLS1_3_AES_128_GCM_SHA256,
                                     MBEDTLS_TLS1_3_AES_256_GCM_SHA384,
                                     MBEDTLS_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
                                     MBEDTLS_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
                                     MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
                                     MBEDTLS_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
                                     MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
                                     MBEDTLS_TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
                                     0};
  std::shared_ptr<TlsContext> context(new TlsContext());
  Impl& impl = *context->impl_;
  impl.options = std::move(options);
  const TlsOptions& chosen = impl.options;
  const bool is_client = chosen.role == TlsRole::kClient;
  if (is_client && chosen.trusted.empty() && chosen.expected.empty() && !chosen.accepts_any) {
    return fail(ErrorCode::kConfig, "set TLS up: there is no certificate to trust");
  }
  int code = psa_crypto_init() == PSA_SUCCESS ? 0 : MBEDTLS_ERR_SSL_INTERNAL_ERROR;
  if (code == 0) {
    code = mbedtls_ssl_config_defaults(&impl.config,
                                       is_client ? MBEDTLS_SSL_IS_CLIENT : MBEDTLS_SSL_IS_SERVER,
                                       MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT);
  }
  if (code != 0) {
    return std::unexpected(tls_error("set TLS up", code));
  }
  mbedtls_ssl_conf_rng(&impl.config, random_bytes, nullptr);
  mbedtls_ssl_conf_min_tls_version(&impl.config, MBEDTLS_SSL_VERSION_TLS1_2);
  mbedtls_ssl_conf_ciphersuites(&impl.config, kCiphers);
  mbedtls_ssl_conf_authmode(&impl.config, verification_of(chosen));
  mbedtls_ssl_conf_sni(&impl.config, note_server_name, nullptr);
  if (!chosen.trusted.empty()) {
    const std::string& all = chosen.trusted;
    MIRRORD_CHECK_STATUS(parse(impl.trusted, chosen.trusts_first_only ? first_pem(all) : all,
                               "the trusted certificate"));
    mbedtls_ssl_conf_ca_chain(&impl.config, &impl.trusted.chain, nullptr);
  }
  if (!chosen.expected.empty()) {
    MIRRORD_CHECK_STATUS(
        parse(impl.expected, first_pem(chosen.expected), "the expected certificate"));
  }
  if (!chosen.certificate.empty()) {
    MIRRORD_CHECK_STATUS(parse(impl.own, chosen.certificate, "our certificate"));
    code = mbedtls_pk_parse_key(&impl.key.pk, bytes(chosen.key), chosen.key.size() + 1, nullptr, 0,
                                random_bytes, nullptr);
    if (code == 0) {
      code = mbedtls_pk_check_pair(&impl.own.chain.pk, &impl.key.pk, random_bytes, nullptr);
    }
    if (code == 0) {
      code = mbedtls_ssl_conf_own_cert(&impl.config, &impl.own.chain, &impl.key.pk);
    }
    if (code != 0) {
      return std::unexpected(tls_error("read the key of our certificate", code));
    }
  }
  if (!chosen.alpn.empty()) {
    for (const std::string& protocol : chosen.alpn) {
      impl.alpn.push_back(protocol.c_str());
    }
    impl.alpn.push_back(nullptr);
    code = mbedtls_ssl_conf_alpn_protocols(&impl.config, impl.alpn.data());
    if (code != 0) {
      return std::unexpected(tls_error("set the protocols of TLS", code));
    }
  }
  return context;
}

namespace {

std::string certificate_time(time_t when) {
  tm parts{};
  ::gmtime_r(&when, &parts);
  std::array<char, 32> text{};
  return {text.data(), ::strftime(text.data(), text.size(), "%Y%m%d%H%M%S", &parts)};
}

struct CertificateWriter {
  mbedtls_x509write_cert writer;
  CertificateWriter() { mbedtls_x509write_crt_init(&writer); }
  ~CertificateWriter() { mbedtls_x509write_crt_free(&writer); }
  CertificateWriter(const CertificateWriter&) = delete;
  CertificateWriter& operator=(const CertificateWriter&) = delete;
};

// Not an authority: verifiers of the strict kind refuse one that serves.
int describe_certificate(mbedtls_x509write_cert& writer, Key& key, const std::string& name) {
  std::array<unsigned char, 16> serial{};
  int code = random_bytes(nullptr, serial.data(), serial.size());
  serial[0] = (serial[0] & 0x7F) | 0x01;  // positive, of full length
  mbedtls_x509write_crt_set_version(&writer, MBEDTLS_X509_CRT_VERSION_3);
  mbedtls_x509write_crt_set_md_alg(&writer, MBEDTLS_MD_SHA256);
  mbedtls_x509write_crt_set_subject_key(&writer, &key.pk);
  mbedtls_x509write_crt_set_issuer_key(&writer, &key.pk);
  const auto step = [&code](auto&& call) {
    if (code == 0) {
      code = call();
    }
  };
  const std::string subject = "CN=" + name;
  const time_t now = ::time(nullptr);
  const std::string from = certificate_time(now - 2 * kDay);
  const std::string to = certificate_time(now + 365 * kDay);
  mbedtls_x509_san_list names{};
  names.node.type = MBEDTLS_X509_SAN_DNS_NAME;
  std::string writable = name;
  names.node.san.unstructured_name.p = reinterpret_cast<unsigned char*>(writable.data());
  names.node.san.unstructured_name.len = writable.size();
  mbedtls_asn1_sequence usage{};
  std::string server_auth(MBEDTLS_OID_SERVER_AUTH, MBEDTLS_OID_SIZE(MBEDTLS_OID_SERVER_AUTH));
  usage.buf.tag = MBEDTLS_ASN1_OID;
  usage.buf.p = reinterpret_cast<unsigned char*>(server_auth.data());
  usage.buf.len = server_auth.size();
  step([&] { return mbedtls_x509write_crt_set_subject_name(&writer, subject.c_str()); });
  step([&] { return mbedtls_x509write_crt_set_issuer_name(&writer, subject.c_str()); });
  step([&] { return mbedtls_x509write_crt_set_serial_raw(&writer, serial.data(), serial.size()); });
  step([&] { return mbedtls_x509write_crt_set_validity(&writer, from.c_str(), to.c_str()); });
  step([&] { return mbedtls_x509write_crt_set_basic_constraints(&writer, 0, -1); });
  step([&] {
    return mbedtls_x509write_crt_set_key_usage(&writer, MBEDTLS_X509_KU_DIGITAL_SIGNATURE);
  });
  step([&] { return mbedtls_x509write_crt_set_ext_key_usage(&writer, &usage); });
  step([&] { return mbedtls_x509write_crt_set_subject_alternative_name(&writer, &names); });
  return code;
}

}  // namespace

Result<TlsIdentity> make_tls_identity(const std::string& name) {
  Key key;
  CertificateWriter made;
  std::array<unsigned char, 4096> certificate{};
  std::array<unsigned char, 1024> key_text{};
  int code = psa_crypto_init() == PSA_SUCCESS ? 0 : MBEDTLS_ERR_SSL_INTERNAL_ERROR;
  const auto step = [&code](auto&& call) {
    if (code == 0) {
      code = call();
    }
  };
  step([&] { return mbedtls_pk_setup(&key.pk, mbedtls_pk_info_from_type(MBEDTLS_PK_ECKEY)); });
  step([&] {
    return mbedtls_ecp_gen_key(MBEDTLS_ECP_DP_SECP256R1, mbedtls_pk_ec(key.pk), random_bytes,
                               nullptr);
  });
  step([&] { return describe_certificate(made.writer, key, name); });
  step([&] {
    return mbedtls_x509write_crt_pem(&made.writer, certificate.data(), certificate.size(),
                                     random_bytes, nullptr);
  });
  step([&] { return mbedtls_pk_write_key_pem(&key.pk, key_text.data(), key_text.size()); });
  if (code != 0) {
    return std::unexpected(tls_error("make a certificate", code));
  }
  TlsIdentity identity{reinterpret_cast<const char*>(certificate.data()),
                       reinterpret_cast<const char*>(key_text.data())};
  std::ranges::fill(key_text, static_cast<unsigned char>(0));
  return identity;
}

Result<std::string> first_certificate_name(const std::string& pem) {
  Certificates parsed;
  MIRRORD_CHECK_STATUS(parse(parsed, first_pem(pem), "the certificate"));
  for (const mbedtls_x509_sequence* name = &parsed.chain.subject_alt_names; name != nullptr;
       name = name->next) {
    mbedtls_x509_subject_alternative_name parts{};
    if (name->buf.p == nullptr || mbedtls_x509_parse_subject_alt_name(&name->buf, &parts) != 0) {
      continue;
    }
    const auto& text = parts.san.unstructured_name;
    std::string found;
    if (parts.type == MBEDTLS_X509_SAN_DNS_NAME) {
      found.assign(reinterpret_cast<const char*>(text.p), text.len);
    } else if (parts.type == MBEDTLS_X509_SAN_IP_ADDRESS && (text.len == 4 || text.len == 16)) {
      std::array<char, INET6_ADDRSTRLEN> address{};
      ::inet_ntop(text.len == 4 ? AF_INET : AF_INET6, text.p, address.data(), address.size());
      found = address.data();
    }
    mbedtls_x509_free_subject_alt_name(&parts);
    if (!found.empty()) {
      return found;
    }
  }
  return std::string();
}

}  // namespace mirrord::net
