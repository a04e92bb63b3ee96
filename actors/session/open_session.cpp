// actors/session/open_session: which kind of session a plan asks for.
#include <utility>

#include "actors/session/imap_session.hpp"
#include "actors/session/pop3_session.hpp"
#include "actors/session/session.hpp"

namespace mailherd::actors {

namespace {
template <class Session>
std::unique_ptr<mail_session> open(const environment& env, net::reactor& where, session_plan plan, session_listener on_event) {
  auto s = std::make_shared<Session>(env, where, std::move(plan), std::move(on_event));
  where.post([s] { s->start(); });
  return std::make_unique<session_handle<Session>>(where, std::move(s));
}
}  // namespace

std::unique_ptr<mail_session> open_session(const environment& env, net::reactor& where, session_plan plan, session_listener on_event) {
  return plan.incoming.protocol == protocol_kind::imap ? open<imap_session>(env, where, std::move(plan), std::move(on_event))
                                                       : open<pop3_session>(env, where, std::move(plan), std::move(on_event));
}

}  // namespace mailherd::actors
