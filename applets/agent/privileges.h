// applets/agent/privileges.h — gives up what the agent does not need once it serves.
#pragma once

namespace mirrord::agent {

// Keeps the capabilities that file requests use (reading and changing files of any owner, other
// processes' entries in /proc), and aside, not in force, CAP_NET_ADMIN for RaisedNetAdmin. Drops all
// others for good. Without any this does nothing.
void drop_privileges();

// CAP_NET_ADMIN is in force on this thread while it lives, if the agent was given it.
class RaisedNetAdmin {
 public:
  RaisedNetAdmin();
  ~RaisedNetAdmin();
  RaisedNetAdmin(const RaisedNetAdmin&) = delete;
  RaisedNetAdmin& operator=(const RaisedNetAdmin&) = delete;
};

}  // namespace mirrord::agent
