// A build without MILLRACE_CUDA: a rank says where it computes, and its tensors go through the memory of its host.

#include "runtime/collective/device_wire.hpp"
#include "runtime/collective/group.hpp"

namespace millrace::collective {
namespace {

class plain_port : public device_port {
public:
  explicit plain_port(at::Device device) : device_(device) {}

  device_facts facts() const override { return {.device = device_.str(), .gpu = "", .library = ""}; }

  std::string invitation() const override { refuse(); }

  std::unique_ptr<device_wire> connect(int, int, const std::string&) const override { refuse(); }

private:
  [[noreturn]] static void refuse() { throw lost("this program was built without MILLRACE_CUDA"); }

  at::Device device_;
};

} // namespace

std::shared_ptr<const device_port> port_of(at::Device device) {
  return std::make_shared<plain_port>(device);
}

} // namespace millrace::collective
