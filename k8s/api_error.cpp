// k8s/api_error.cpp — reads paths and Status objects, words errors and hints.
#include "k8s/api_error.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

namespace mirrord::k8s {
namespace {

constexpr std::size_t kMaxQuote = 300;  // of a body that is no Status

std::vector<std::string> segments(std::string_view path) {
  std::vector<std::string> parts;
  while (!path.empty()) {
    const std::size_t end = std::min(path.find('/'), path.size());
    if (end > 0) {
      parts.emplace_back(path.substr(0, end));
    }
    path.remove_prefix(std::min(end + 1, path.size()));
  }
  return parts;
}

std::string_view without_query(std::string_view path) {
  return path.substr(0, path.find('?'));
}

// The beginning of a text that a server sent, fit for a terminal.
std::string quoted(std::string_view text) {
  std::string out;
  for (const char c : text.substr(0, kMaxQuote)) {
    const bool is_blank = c == '\n' || c == '\r' || c == '\t' || c == ' ';
    if (is_blank) {
      out += out.empty() || out.ends_with(' ') ? "" : " ";
    } else if (static_cast<unsigned char>(c) >= 0x20 && c != 0x7F) {
      out += c;
    }
  }
  while (out.ends_with(' ')) {
    out.pop_back();
  }
  return out + (text.size() > kMaxQuote ? " …" : "");
}

std::string of_context(const ClientConfig& config) {
  return config.context.empty() ? "the service account" : "the context `" + config.context + "`";
}

std::string missing_rule(const ApiRequest& request) {
  const ApiPath path = parse_api_path(request.path);
  if (path.resource.empty()) {
    return "Have the cluster's administrator allow `get` on " +
           std::string(without_query(request.path)) + ".";
  }
  return std::string("Have a ") + (path.name_space.empty() ? "ClusterRole" : "Role") +
         " bound to you" +
         (path.name_space.empty() ? "" : " in the namespace `" + path.name_space + "`") +
         " that has the rule: apiGroups [\"" + path.group + "\"], resources [\"" + path.resource +
         "\"], verbs [\"" + std::string(api_verb(request.method, path)) + "\"].";
}

ErrorCode code_of_status(int status) {
  switch (status) {
    case 401:
    case 403:
      return ErrorCode::kPermission;
    case 404:
    case 410:
      return ErrorCode::kNotFound;
    case 408:
    case 504:
      return ErrorCode::kTimeout;
    default:
      return ErrorCode::kPeer;
  }
}

std::string hint_of_answer(const ClientConfig& config, const ApiRequest& request, int status,
                           std::string_view message) {
  if (status == 401) {
    return "The credentials of " + of_context(config) +
           " are not, or no longer, valid: log in to the cluster again.";
  }
  // Admission refuses with 403 too, and then a rule would not help.
  const bool is_authorization = message.find(" cannot ") != std::string_view::npos;
  if (status == 403 && message.find("\"system:anonymous\"") != std::string_view::npos) {
    return "The user of " + of_context(config) +
           " has no credentials that the server knows: log in to the cluster.";
  }
  if (status == 403 && is_authorization) {
    return missing_rule(request);
  }
  return {};
}

struct TransferKind {
  CURLcode code;
  ErrorCode error;
  std::string_view why;
};
constexpr std::array kTransferKinds{
    TransferKind{CURLE_COULDNT_CONNECT, ErrorCode::kDisconnected, "cannot connect"},
    TransferKind{CURLE_COULDNT_RESOLVE_HOST, ErrorCode::kNotFound, "the host has no address"},
    TransferKind{CURLE_COULDNT_RESOLVE_PROXY, ErrorCode::kNotFound, "the proxy has no address"},
    TransferKind{CURLE_PROXY, ErrorCode::kDisconnected, "the proxy does not connect us"},
    TransferKind{CURLE_OPERATION_TIMEDOUT, ErrorCode::kTimeout, "no answer in time"},
    TransferKind{CURLE_GOT_NOTHING, ErrorCode::kDisconnected, "the server hung up"},
    TransferKind{CURLE_RECV_ERROR, ErrorCode::kDisconnected, "the connection was lost"},
    TransferKind{CURLE_SEND_ERROR, ErrorCode::kDisconnected, "the connection was lost"},
    TransferKind{CURLE_PARTIAL_FILE, ErrorCode::kDisconnected, "the answer broke off"},
    TransferKind{CURLE_HTTP2, ErrorCode::kDisconnected, "the connection was lost"},
    TransferKind{CURLE_HTTP2_STREAM, ErrorCode::kDisconnected, "the server gave the request up"},
    TransferKind{CURLE_PEER_FAILED_VERIFICATION, ErrorCode::kPeer,
                 "the server's certificate is not trusted"},
    TransferKind{CURLE_SSL_CONNECT_ERROR, ErrorCode::kPeer, "no TLS connection"},
    TransferKind{CURLE_SSL_CERTPROBLEM, ErrorCode::kConfig,
                 "a certificate or its key cannot be used"},
    TransferKind{CURLE_SSL_CACERT_BADFILE, ErrorCode::kConfig, "the certificate authorities"},
    TransferKind{CURLE_TOO_LARGE, ErrorCode::kPeer, "the answer is too large"},
};

std::string proxy_of(const ClientConfig& config) {
  std::string proxy = config.proxy;
  const std::size_t begin = proxy.find("://");
  const std::size_t end = proxy.rfind('@');
  if (end != std::string::npos) {  // a password is nobody's business
    const std::size_t from = begin == std::string::npos ? 0 : begin + 3;
    proxy.erase(from, end + 1 - from);
  }
  return proxy;
}

std::string hint_of_transfer(const ClientConfig& config, CURLcode code, std::string_view reason) {
  if (code == CURLE_SSL_CERTPROBLEM && reason.find("ca cert") != std::string_view::npos) {
    code = CURLE_SSL_CACERT_BADFILE;
  }
  switch (code) {
    case CURLE_PEER_FAILED_VERIFICATION:
      return "Correct `certificate-authority` of the kubeconfig, or set "
             "`accept_invalid_certificates` to true if you trust this server.";
    case CURLE_SSL_CERTPROBLEM:
      return "Check `client-certificate` and `client-key` of " + of_context(config) +
             "; keys of RSA and ECDSA are supported.";
    case CURLE_SSL_CACERT_BADFILE:
      return "Check `certificate-authority` of the cluster of " + of_context(config) + ".";
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_PROXY:
      return "The proxy is " + proxy_of(config) + "; check it, or set `use_proxy` to false.";
    case CURLE_COULDNT_CONNECT:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_OPERATION_TIMEDOUT:
      return "Check that the server of " + of_context(config) +
             " runs and can be reached from here" +
             (config.proxy.empty() ? "." : " through the proxy " + proxy_of(config) + ".");
    default:
      return {};
  }
}

}  // namespace

ApiPath parse_api_path(std::string_view path) {
  ApiPath parsed;
  const std::size_t query = path.find('?');
  if (query != std::string_view::npos) {
    const std::string_view text = path.substr(query);
    parsed.is_watch = text.find("watch=true") != std::string_view::npos ||
                      text.find("watch=1") != std::string_view::npos;
  }
  std::vector<std::string> parts = segments(path.substr(0, query));
  std::size_t at = 0;
  if (parts.size() >= 3 && parts[0] == "api") {
    at = 2;
  } else if (parts.size() >= 4 && parts[0] == "apis") {
    parsed.group = parts[1];
    at = 3;
  } else {
    return parsed;
  }
  const bool has_name_space = parts[at] == "namespaces" && parts.size() > at + 2 &&
                              !(parts.size() == at + 3 && parts[at + 2] == "finalize");
  if (has_name_space) {
    parsed.name_space = parts[at + 1];
    at += 2;
  }
  parsed.resource = parts[at];
  if (parts.size() > at + 1) {
    parsed.name = parts[at + 1];
  }
  if (parts.size() > at + 2) {
    parsed.resource += "/" + parts[at + 2];
  }
  return parsed;
}

std::string_view api_verb(std::string_view method, const ApiPath& path) {
  if (method == "POST") {
    return "create";
  }
  if (method == "PUT") {
    return "update";
  }
  if (method == "PATCH") {
    return "patch";
  }
  if (method == "DELETE") {
    return path.name.empty() ? "deletecollection" : "delete";
  }
  if (path.is_watch) {
    return "watch";
  }
  return path.name.empty() ? "list" : "get";
}

ApiError request_error(const ClientConfig& config, const ApiRequest& request, ErrorCode code,
                       const std::string& why) {
  ApiError error;
  error.code = code;
  error.what = request.method + " " + std::string(without_query(request.path)) + " at " +
               config.server + ": " + why;
  return error;
}

ApiError answer_error(const ClientConfig& config, const ApiRequest& request, int status,
                      std::string_view body) {
  std::string message;
  std::string reason;
  const auto object = Json::parse(body, "the answer");
  if (object && (*object)["kind"].text() == "Status") {
    message = (*object)["message"].text();
    reason = (*object)["reason"].text();
  } else {
    message = quoted(body);
  }
  const std::string hint = hint_of_answer(config, request, status, message);
  if (message.empty() || reason.empty()) {
    message = "the server answers with HTTP status " + std::to_string(status) +
              (message.empty() ? "" : ": " + message);
  }
  ApiError error = request_error(config, request, code_of_status(status), message);
  error.hint = hint;
  error.status = status;
  error.reason = reason;
  return error;
}

ApiError transfer_error(const ClientConfig& config, const ApiRequest& request, CURLcode code,
                        std::string_view reason) {
  const auto* const kind = std::ranges::find(kTransferKinds, code, &TransferKind::code);
  const bool is_known = kind != kTransferKinds.end();
  std::string why(is_known ? kind->why : std::string_view("the answer makes no sense"));
  const std::string detail(reason.empty() ? std::string_view(curl_easy_strerror(code)) : reason);
  why += " (" + quoted(detail) + ")";
  ApiError error = request_error(config, request, is_known ? kind->error : ErrorCode::kPeer, why);
  error.hint = hint_of_transfer(config, code, reason);
  return error;
}

}  // namespace mirrord::k8s
