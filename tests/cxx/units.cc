// Two source files include the headers, and exchange objects: the one definition rule.

#include "expect.hpp"

unixipc::channel pass_on(unixipc::channel end);
unixipc::result<std::size_t> count(unixipc::channel &end, unixipc::mutable_bytes buffer);

int main()
{
    auto [one, two] = unixipc::channel::open_pair();
    unixipc::channel end = pass_on(std::move(one));
    end.send(unixipc::bytes_of("abc"));
    std::byte buffer[8];
    CHECK(*count(two, buffer) == 3);
    return 0;
}
