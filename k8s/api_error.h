// k8s/api_error.h — what an API path asks for, and errors in the server's words with what to do.
#pragma once

#include <curl/curl.h>

#include <optional>
#include <string>
#include <string_view>

#include "k8s/api_client.h"
#include "k8s/client_config.h"

namespace mirrord::k8s {

// What authorization rules say of a request. "/version" and the like have no resource.
struct ApiPath {
  std::string group;       // empty: the core group
  std::string name_space;  // empty: of the whole cluster
  std::string resource;    // with its subresource: "pods/log"
  std::string name;
  bool is_watch = false;
};
ApiPath parse_api_path(std::string_view path);
std::string_view api_verb(std::string_view method, const ApiPath& path);

// `body` is that of an answer whose status is not 2xx.
ApiError answer_error(const ClientConfig& config, const ApiRequest& request, int status,
                      std::string_view body);

// A transfer that brought no answer. `reason` is libcurl's own text, may be empty.
ApiError transfer_error(const ClientConfig& config, const ApiRequest& request, CURLcode code,
                        std::string_view reason);

// "GET /api/v1/… at https://…: `why`".
ApiError request_error(const ClientConfig& config, const ApiRequest& request, ErrorCode code,
                       const std::string& why);

}  // namespace mirrord::k8s
