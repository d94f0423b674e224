// k8s/curl_handle.h — owners of libcurl's objects, and what all our transfers have in common.
#pragma once

#include <curl/curl.h>

#include <memory>
#include <string>

namespace mirrord::k8s {

struct CurlFree {
  void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using CurlHandle = std::unique_ptr<CURL, CurlFree>;
using CurlList = std::unique_ptr<curl_slist, CurlFree>;

// A handle without signals, redirections or a proxy from the environment.
CurlHandle make_curl_handle();
void append(CurlList& list, const std::string& text);

// The file of the system's certificate authorities: $SSL_CERT_FILE, or where distributions have
// it. Empty if there is none.
const std::string& system_authorities();

// Checks certificates against `ca_pem`, or the system's authorities when it is empty. The text is
// not copied.
void set_authorities(CURL* handle, const std::string& ca_pem);

}  // namespace mirrord::k8s
