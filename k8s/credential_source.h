// k8s/credential_source.h — from the user entry of a kubeconfig to a source of credentials.
#pragma once

#include <string>

#include "k8s/client_config.h"
#include "k8s/exec_credential.h"
#include "k8s/kubeconfig.h"
#include "net/error.h"

namespace mirrord::k8s {

// The value of `KEY-data` in Base64, or the content of the file that `KEY` names; empty if the
// entry has neither.
Result<std::string> data_or_file(const KubeEntry& entry, std::string_view key);

// `user` may be null: nobody. `cluster` is for exec plugins that want to know it. The kinds of
// credentials are tried in this order: auth-provider, username, token, tokenFile, exec; a client
// certificate is added to any of them.
Result<CredentialSource> credential_source(const KubeEntry* user, ExecClusterInfo cluster);

// A token that a file holds, read again every minute and when it was refused.
CredentialSource token_file_source(std::string path);

}  // namespace mirrord::k8s
