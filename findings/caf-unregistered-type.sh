#!/usr/bin/env bash
# CAF 0.17.6 (Debian 12): a message whose type is not registered with the sending actor system is no error for its
# sender. The message is replaced by an empty one, which the remote receiver gets in its place. The request then says
# what the receiver makes of an empty message, and a line on stderr is all that names the type.
#
# One would expect: the request fails at its sender, and nothing reaches the receiver.
# Millrace therefore sends one registered type alone, an envelope (actors/protocol/wire_types.cpp).
set -euo pipefail
version=0.17.6-2.1+b1
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
cd "$here"
for package in libcaf-dev libcaf-core0.17 libcaf-io0.17; do
  apt-get download -qq "$package=$version" >/dev/null
done
for package in *.deb; do dpkg -x "$package" unpacked; done
libraries=$here/unpacked/usr/lib/$(gcc -dumpmachine)

cat > sender.cpp <<'CPP'
#include <caf/all.hpp>
#include <caf/io/all.hpp>

#include <iostream>

struct order {
  std::string text;
};

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, order& x) {
  return f(caf::meta::type_name("order"), x.text);
}

struct config : caf::actor_system_config {
  explicit config(bool registered) {
    load<caf::io::middleman>();
    if (registered)
      add_message_type<order>("order");
  }
};

void send_one(bool registered) {
  config own(registered), others(true);
  caf::actor_system sender(own), receiver(others);
  std::string seen = "nothing";
  const auto taker = receiver.spawn([&seen](caf::event_based_actor* self) -> caf::behavior {
    self->set_default_handler([&seen](caf::scheduled_actor*, caf::message_view& what) -> caf::result<caf::message> {
      seen = "a message of " + std::to_string(what.content().size()) + " elements";
      return caf::sec::unexpected_message;
    });
    return {[&seen](const order& what) {
      seen = "the order " + what.text;
      return std::string("taken");
    }};
  });
  const auto port = receiver.middleman().publish(taker, 0, "127.0.0.1");
  const auto remote = sender.middleman().remote_actor("127.0.0.1", *port);
  std::string answer;
  {
    caf::scoped_actor self(sender);
    self->request(*remote, std::chrono::seconds(5), order{"flour"})
        .receive([&](const std::string& text) { answer = text; },
                 [&](caf::error& error) { answer = sender.render(error); });
  }
  caf::anon_send_exit(taker, caf::exit_reason::user_shutdown);
  receiver.await_all_actors_done();
  std::cout << (registered ? "registered" : "not registered") << ": the receiver saw " << seen << ", the sender "
            << answer << '\n';
}

int main() {
  send_one(true);
  send_one(false);
}
CPP
g++ -std=c++17 -O0 -isystem unpacked/usr/include sender.cpp -L"$libraries" -lcaf_io -lcaf_core -pthread -o sender
LD_LIBRARY_PATH=$libraries ./sender > said 2> complained
echo "CAF $version"
sed 's/^/  /' said
sed 's/^/  stderr: /' complained
grep -q '^registered: the receiver saw the order flour, the sender taken$' said
grep -q '^not registered: the receiver saw a message of 0 elements, the sender system_error(unexpected_message)$' said
grep -q 'a type was not added' complained
echo "as recorded: the receiver gets an empty message in place of one that cannot be serialised"
