// k8s/api_transfer.cpp — sets libcurl up for one attempt, takes head and body of the answer.
#include "k8s/api_transfer.h"

#include <mbedtls/ssl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <strings.h>
#include <sys/socket.h>

#include <algorithm>
#include <charconv>

#include "k8s/proxy_choice.h"
#include "net/base64.h"

namespace mirrord::k8s {
namespace {

constexpr long kReadSize = 128 * 1024;
constexpr long kConnectMs = 15'000;
constexpr long kIdleSeconds = 15;  // then the kernel asks whether the peer is still there
constexpr long kProbeSeconds = 5;
constexpr unsigned kUnacknowledgedMs = 20'000;

// A peer that is gone without a word is noticed by the kernel, also while it owes us an answer.
int prepare_socket(void*, curl_socket_t socket, curlsocktype) {
  ::setsockopt(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, &kUnacknowledgedMs, sizeof kUnacknowledgedMs);
  return CURL_SOCKOPT_OK;
}

// The connection stands, the request has not been sent.
int note_connection(void* of, char*, char*, int, int) {
  auto& transfer = *static_cast<Transfer*>(of);
  const curl_tlssessioninfo* tls = nullptr;
  curl_easy_getinfo(transfer.handle.get(), CURLINFO_TLS_SSL_PTR, &tls);
  if (tls != nullptr && tls->internals != nullptr && tls->backend == CURLSSLBACKEND_MBEDTLS) {
    const char* protocol =
        mbedtls_ssl_get_alpn_protocol(static_cast<const mbedtls_ssl_context*>(tls->internals));
    transfer.speaks_http2 = protocol != nullptr && std::string_view(protocol) == "h2";
  }
  transfer.is_connected = true;
  return CURL_PREREQFUNC_OK;
}

std::size_t take_header(char* data, std::size_t, std::size_t size, void* of) {
  auto& transfer = *static_cast<Transfer*>(of);
  const std::string_view line(data, size);
  constexpr std::string_view kRetryAfter = "retry-after:";
  transfer.head_size += size;
  if (transfer.head_size > Transfer::kMaxHead) {
    transfer.is_too_large = true;
    return 0;
  }
  if (size > kRetryAfter.size() &&
      ::strncasecmp(data, kRetryAfter.data(), kRetryAfter.size()) == 0) {
    const std::size_t begin = std::min(line.find_first_not_of(' ', kRetryAfter.size()), size);
    long seconds = 0;  // a date is not understood, and rare
    std::from_chars(data + begin, data + size, seconds);
    transfer.retry_after = std::chrono::seconds(std::clamp(seconds, 0L, 3600L));
  }
  if (line == "\r\n" || line == "\n") {
    long status = 0;
    curl_easy_getinfo(transfer.handle.get(), CURLINFO_RESPONSE_CODE, &status);
    if (status >= 200) {  // 1xx is not the answer yet
      transfer.status = static_cast<int>(status);
      transfer.has_news = true;
    }
  }
  return size;
}

std::size_t take_body(char* data, std::size_t, std::size_t size, void* of) {
  auto& transfer = *static_cast<Transfer*>(of);
  const bool is_good = transfer.status / 100 == 2;
  const bool is_stream = transfer.kind == Transfer::Kind::kStream && is_good;
  if (!is_good && transfer.body.size() >= Transfer::kMaxErrorBody) {
    return size;  // the beginning of an error is enough
  }
  if (transfer.body.size() + size >
      (is_stream ? Transfer::kMaxLine + CURL_MAX_READ_SIZE : Transfer::kMaxAnswer)) {
    transfer.is_too_large = true;
    return CURL_WRITEFUNC_ERROR;
  }
  transfer.body.append(data, size);
  transfer.has_news = true;
  return size;
}

void set_proxy(CURL* handle, const ClientConfig& config) {
  std::string proxy = config.proxy;
  if (proxy.starts_with("socks5:")) {
    proxy.insert(6, "h");  // the proxy looks names up: that is what kubectl does
  }
  curl_easy_setopt(handle, CURLOPT_PROXY, proxy.c_str());
  curl_easy_setopt(handle, CURLOPT_NOPROXY, "");
  curl_easy_setopt(handle, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  if (!system_authorities().empty()) {
    curl_easy_setopt(handle, CURLOPT_PROXY_CAINFO, system_authorities().c_str());
  }
}

void set_client_certificate(CURL* handle, const Credentials& credentials) {
  if (credentials.client_certificate.empty()) {
    return;
  }
  const auto blob_of = [](const std::string& pem) {
    // With the zero at its end, which mbedTLS wants to see.
    return curl_blob{const_cast<char*>(pem.c_str()), pem.size() + 1, CURL_BLOB_COPY};
  };
  curl_blob chain = blob_of(credentials.client_certificate);
  curl_blob key = blob_of(credentials.client_key);
  curl_easy_setopt(handle, CURLOPT_SSLCERT_BLOB, &chain);
  curl_easy_setopt(handle, CURLOPT_SSLKEY_BLOB, &key);
}

}  // namespace

void append_identity(CurlList& headers, const ClientConfig& config,
                     const Credentials& credentials) {
  if (!credentials.bearer_token.empty()) {
    append(headers, "Authorization: Bearer " + credentials.bearer_token);
  } else if (!credentials.username.empty()) {
    append(headers, "Authorization: Basic " +
                        net::to_base64(credentials.username + ":" + credentials.password));
  }
  if (!config.impersonate_user.empty()) {
    append(headers, "Impersonate-User: " + config.impersonate_user);
  }
  if (!config.impersonate_uid.empty()) {
    append(headers, "Impersonate-Uid: " + config.impersonate_uid);
  }
  for (const std::string& group : config.impersonate_groups) {
    append(headers, "Impersonate-Group: " + group);
  }
  for (const auto& [name, value] : config.impersonate_extra) {
    append(headers, "Impersonate-Extra-" + escape(name) + ": " + value);
  }
}

void set_server(CURL* handle, HandleLists& lists, const ClientConfig& config,
                const Credentials& credentials, std::string_view path) {
  UrlParts server = split_url(config.server);
  const std::string real = server.authority();
  if (!config.server_name.empty() && config.server_name != server.host) {
    // libcurl takes the name for TLS from the URL: the URL gets that name, the connection the host.
    server.host = config.server_name;
    append(lists.routes, server.authority() + ":" + real);
    curl_easy_setopt(handle, CURLOPT_CONNECT_TO, lists.routes.get());
    append(lists.headers, "Host: " + real);
  }
  const std::string url =
      server.scheme + "://" + server.authority() + server.prefix + std::string(path);
  curl_easy_setopt(handle, CURLOPT_URL, url.c_str());
  curl_easy_setopt(handle, CURLOPT_USERAGENT, "mirrord");
  set_proxy(handle, config);
  set_authorities(handle, config.ca_pem);
  set_client_certificate(handle, credentials);
  if (config.is_insecure) {
    curl_easy_setopt(handle, CURLOPT_SSL_VERIFYPEER, 0L);
    curl_easy_setopt(handle, CURLOPT_SSL_VERIFYHOST, 0L);
  }
  curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT_MS, kConnectMs);
  curl_easy_setopt(handle, CURLOPT_TCP_KEEPALIVE, 1L);
  curl_easy_setopt(handle, CURLOPT_TCP_KEEPIDLE, kIdleSeconds);
  curl_easy_setopt(handle, CURLOPT_TCP_KEEPINTVL, kProbeSeconds);
  curl_easy_setopt(handle, CURLOPT_SOCKOPTFUNCTION, prepare_socket);
}

void prepare_attempt(Transfer& transfer, const ClientConfig& config,
                     std::chrono::milliseconds limit, bool waits_for_stream) {
  const ApiRequest& request = transfer.request;
  transfer.handle = make_curl_handle();
  transfer.lists = {};
  transfer.reason[0] = '\0';
  transfer.status = 0;
  transfer.head_size = 0;
  transfer.retry_after = {};
  transfer.body.clear();
  transfer.scanned = 0;
  transfer.is_too_large = transfer.has_news = transfer.is_connected = false;
  ++transfer.attempts;

  CURL* handle = transfer.handle.get();
  set_server(handle, transfer.lists, config, *transfer.credentials, request.path);
  append_identity(transfer.lists.headers, config, *transfer.credentials);
  append(transfer.lists.headers, "Accept: " + request.accept);
  append(transfer.lists.headers, "Expect:");  // a body follows at once
  if (!request.body.empty()) {
    append(transfer.lists.headers, "Content-Type: " + request.content_type);
    curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE_LARGE,
                     static_cast<curl_off_t>(request.body.size()));
    curl_easy_setopt(handle, CURLOPT_POSTFIELDS, request.body.c_str());
  } else if (request.method == "POST") {
    curl_easy_setopt(handle, CURLOPT_POSTFIELDS, "");
  }
  if (request.method != "GET" || !request.body.empty()) {
    curl_easy_setopt(handle, CURLOPT_CUSTOMREQUEST, request.method.c_str());
  }
  curl_easy_setopt(handle, CURLOPT_HTTPHEADER, transfer.lists.headers.get());
  curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, transfer.reason.data());
  curl_easy_setopt(handle, CURLOPT_BUFFERSIZE, kReadSize);  // lists are long
  curl_easy_setopt(handle, CURLOPT_HEADERFUNCTION, take_header);
  curl_easy_setopt(handle, CURLOPT_HEADERDATA, &transfer);
  curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, take_body);
  curl_easy_setopt(handle, CURLOPT_WRITEDATA, &transfer);
  curl_easy_setopt(handle, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_2TLS));
  curl_easy_setopt(handle, CURLOPT_PIPEWAIT, waits_for_stream ? 1L : 0L);
  curl_easy_setopt(handle, CURLOPT_PREREQFUNCTION, note_connection);
  curl_easy_setopt(handle, CURLOPT_PREREQDATA, &transfer);
  if (transfer.kind == Transfer::Kind::kAnswer) {
    curl_easy_setopt(handle, CURLOPT_ACCEPT_ENCODING, "gzip");
    curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, std::max<long>(1, limit.count()));
  }
}

}  // namespace mirrord::k8s
