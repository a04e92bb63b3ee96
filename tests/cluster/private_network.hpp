// tests/cluster/private_network: a network of this process' own, and in it one more for a node, with two wires between them: one to the database, one
// for everything else. The first can be cut as a wire is cut: packets vanish, nobody is told.
//
// Owns:   the namespaces (they end with the processes in them) and the wires.
// Never:  touches the machine's own network. Needs root, or a kernel that lets users have namespaces; and iproute2.
// Threads: one.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/peers/process.hpp"

namespace mailherd::test {

class private_network {
 public:
  /// Once, before this process has a second thread: from then on it is in a network of its own, with loopback only. False if the machine does not
  /// allow it: nothing has changed then.
  static bool enter();

  /// Throws peers::peer_error if the wires cannot be made.
  private_network();

  [[nodiscard]] std::vector<std::string> launcher() const;   ///< what starts a program behind the wires
  static constexpr const char* near_database = "10.77.1.1";  ///< the address of this side
  static constexpr const char* near_other = "10.77.2.1";
  static constexpr const char* far_other = "10.77.2.2";  ///< of the node: where it is asked
  static constexpr const char* both = "10.77.0.0/16";

  /// From the node to this port of near_other, as the kernel of this side knows them.
  static std::size_t connections_to(std::uint16_t port);

  /// Of the wire to the database. Frames go to an address that nobody has: they are sent, and nobody takes them.
  void cut();
  void restore();

 private:
  void there(std::vector<std::string> command) const;  ///< runs it behind the wires
  void wire(const std::string& name, const std::string& net) const;
  void aim(const std::string& near, const std::string& far) const;

  peers::process holder_;  ///< keeps the node's namespace while no node runs
};

}  // namespace mailherd::test
