// k8s/oidc.cpp — two requests to the issuer, one after the other.
#include "k8s/oidc.h"

#include <array>

#include "k8s/curl_handle.h"
#include "k8s/json.h"

namespace mirrord::k8s {
namespace {

constexpr long kTimeoutMs = 15'000;  // of each request
constexpr std::size_t kMaxAnswer = std::size_t{1} * 1024 * 1024;

struct Answer {
  long status = 0;
  Json body;
};

std::size_t take(char* data, std::size_t, std::size_t size, void* into) {
  auto& text = *static_cast<std::string*>(into);
  if (text.size() + size > kMaxAnswer) {
    return 0;
  }
  text.append(data, size);
  return size;
}

// `form` is the body of a POST; without one it is a GET.
Result<Answer> request(const OidcClient& client, const std::string& url, const std::string* form,
                       bool with_basic) {
  const CurlHandle handle = make_curl_handle();
  std::array<char, CURL_ERROR_SIZE> reason{};
  std::string text;
  curl_easy_setopt(handle.get(), CURLOPT_URL, url.c_str());
  curl_easy_setopt(handle.get(), CURLOPT_TIMEOUT_MS, kTimeoutMs);
  curl_easy_setopt(handle.get(), CURLOPT_ERRORBUFFER, reason.data());
  curl_easy_setopt(handle.get(), CURLOPT_WRITEFUNCTION, take);
  curl_easy_setopt(handle.get(), CURLOPT_WRITEDATA, &text);
  set_authorities(handle.get(), client.ca_pem);
  if (form != nullptr) {
    curl_easy_setopt(handle.get(), CURLOPT_POSTFIELDS, form->c_str());
  }
  if (with_basic) {
    curl_easy_setopt(handle.get(), CURLOPT_USERNAME, client.client_id.c_str());
    curl_easy_setopt(handle.get(), CURLOPT_PASSWORD, client.client_secret.c_str());
  }
  const CURLcode code = curl_easy_perform(handle.get());
  if (code != CURLE_OK) {
    return fail(
        ErrorCode::kDisconnected,
        "asking " + url + ": " + (reason[0] != '\0' ? reason.data() : curl_easy_strerror(code)));
  }
  Answer answer;
  curl_easy_getinfo(handle.get(), CURLINFO_RESPONSE_CODE, &answer.status);
  if (auto body = Json::parse(text, "the answer of " + url)) {
    answer.body = std::move(*body);
  } else if (answer.status == 200) {
    return std::unexpected(std::move(body.error()));
  }
  return answer;
}

std::string encoded(const std::string& text) {
  char* escaped = curl_easy_escape(nullptr, text.c_str(), static_cast<int>(text.size()));
  std::string copy(escaped == nullptr ? "" : escaped);
  curl_free(escaped);
  return copy;
}

}  // namespace

Result<OidcTokens> renew_tokens(const OidcClient& client) {
  std::string issuer = client.issuer;
  while (issuer.ends_with('/')) {
    issuer.pop_back();
  }
  MIRRORD_TRY(discovery,
              request(client, issuer + "/.well-known/openid-configuration", nullptr, false));
  const std::string endpoint(discovery.body["token_endpoint"].text());
  if (discovery.status != 200 || endpoint.empty()) {
    return fail(ErrorCode::kPeer, "the issuer " + issuer + " names no token endpoint (status " +
                                      std::to_string(discovery.status) + ")");
  }
  const std::string form =
      "grant_type=refresh_token&refresh_token=" + encoded(client.refresh_token);
  MIRRORD_TRY(answer, request(client, endpoint, &form, true));
  if (answer.status != 200) {  // some issuers take the client's secret in the form only
    const std::string whole = form + "&client_id=" + encoded(client.client_id) +
                              "&client_secret=" + encoded(client.client_secret);
    MIRRORD_TRY(second, request(client, endpoint, &whole, false));
    answer = std::move(second);
  }
  OidcTokens tokens{std::string(answer.body["id_token"].text()),
                    std::string(answer.body["refresh_token"].text())};
  if (answer.status != 200 || tokens.id_token.empty()) {
    const std::string_view why = answer.body["error_description"].text(answer.body["error"].text());
    return fail(ErrorCode::kPermission, "the issuer " + issuer + " gives no new token (status " +
                                            std::to_string(answer.status) + ")" +
                                            (why.empty() ? "" : ": ") + std::string(why));
  }
  return tokens;
}

}  // namespace mirrord::k8s
