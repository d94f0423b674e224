// k8s/curl_handle.cpp — starts libcurl, makes handles.
#include "k8s/curl_handle.h"

#include <unistd.h>

#include <cstdlib>
#include <new>

namespace mirrord::k8s {

CurlHandle make_curl_handle() {
  static const CURLcode started = curl_global_init(CURL_GLOBAL_DEFAULT);
  CurlHandle handle(started == CURLE_OK ? curl_easy_init() : nullptr);
  if (!handle) {
    throw std::bad_alloc();
  }
  curl_easy_setopt(handle.get(), CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(handle.get(), CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(handle.get(), CURLOPT_PROXY, "");
  curl_easy_setopt(handle.get(), CURLOPT_NOPROXY, "");
  curl_easy_setopt(handle.get(), CURLOPT_PROTOCOLS_STR, "http,https");
  return handle;
}

void append(CurlList& list, const std::string& text) {
  curl_slist* longer = curl_slist_append(list.get(), text.c_str());
  if (longer == nullptr) {
    throw std::bad_alloc();
  }
  static_cast<void>(list.release());  // the same list, or the first of its items
  list.reset(longer);
}

const std::string& system_authorities() {
  static const std::string found = [] {
    const char* named = std::getenv("SSL_CERT_FILE");  // NOLINT(concurrency-mt-unsafe): only read
    if (named != nullptr && *named != '\0') {
      return std::string(named);
    }
    for (const char* path : {
             "/etc/ssl/certs/ca-certificates.crt",                 // Debian, Arch, Alpine
             "/etc/pki/tls/certs/ca-bundle.crt",                   // Fedora, RHEL 6
             "/etc/ssl/ca-bundle.pem",                             // openSUSE
             "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  // RHEL 7
             "/etc/ssl/cert.pem",                                  // Alpine, BSD
         }) {
      if (::access(path, R_OK) == 0) {
        return std::string(path);
      }
    }
    return std::string();
  }();
  return found;
}

void set_authorities(CURL* handle, const std::string& ca_pem) {
  if (!ca_pem.empty()) {
    curl_blob blob{const_cast<char*>(ca_pem.c_str()), ca_pem.size(), CURL_BLOB_NOCOPY};
    curl_easy_setopt(handle, CURLOPT_CAINFO_BLOB, &blob);
  } else if (!system_authorities().empty()) {
    curl_easy_setopt(handle, CURLOPT_CAINFO, system_authorities().c_str());
  }
}

}  // namespace mirrord::k8s
