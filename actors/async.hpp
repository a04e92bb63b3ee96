// actors/async: how work outside the actor system comes back to the actor that began it.
//
// Owns:   `continuation` (a piece of the actor's own code, run on its thread) and `ask_store`.
// Never:  runs anything for an actor that has ended: the continuation is dropped. Never blocks.
#pragma once

#include <caf/actor_control_block.hpp>
#include <caf/allowed_unsafe_message_type.hpp>

#include <functional>
#include <utility>

#include "core/clock.hpp"
#include "core/result.hpp"
#include "storage/store.hpp"

namespace mailherd::actors {

/// A message: the rest of something the receiving actor itself began. Every actor's behaviour has one handler for it.
struct continuation {
  std::function<void()> run;
};

/// Sends `run` to `who`; dropped if the actor has ended. Any thread.
void resume(const caf::weak_actor_ptr& who, std::function<void()> run);

/// Where an answer goes: to the actor that asked, on its thread. Copyable; calling it twice is the callee's defect.
template <class T>
struct callback {
  caf::weak_actor_ptr who;
  std::function<void(T)> then;

  void operator()(T value) const {
    resume(who, [then = then, value = std::move(value)]() mutable { then(std::move(value)); });
  }
};

/// Runs `job(session&) -> result<T>` on a storage worker and `then(result<T>)` on the actor `self`. The job is not started after `until`.
/// When the executor's queue is full, `then` gets failure::store_busy.
template <class T, class Self, class Job, class Then>
void ask_store(Self* self, store::executor& executor, deadline until, Job job, Then then, bool urgent = false) {
  caf::weak_actor_ptr me{self->ctrl()};
  const bool taken = executor.submit(
      until,
      [me, job = std::move(job), then](result<store::session*> s) mutable {
        result<T> answer = s ? job(**s) : result<T>(fail(s.error()));
        actors::resume(me, [then = std::move(then), answer = std::move(answer)]() mutable { then(std::move(answer)); });
      },
      urgent);
  if (!taken) {
    actors::resume(me, [then = std::move(then)]() mutable { then(result<T>(fail(failure::store_busy, "too many storage jobs are waiting"))); });
  }
}

}  // namespace mailherd::actors

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(mailherd::actors::continuation)
