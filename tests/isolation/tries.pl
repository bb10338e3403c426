# Tries to leave in every way it knows, writes down what came of each, and then passes its input on.
use strict;
use warnings;
use IO::Socket::INET;
use IO::Socket::UNIX;
use Socket;

my ($result, %ask) = @ARGV;
my @found;
sub note { my ($try, $text) = @_; $text =~ s/\s+$//; $text =~ s/["\\]/?/g; push @found, "\"$try\":\"$text\""; }

if (my $to = $ask{tcp}) {
    my $socket = IO::Socket::INET->new(PeerAddr => $to, Proto => 'tcp', Timeout => 5);
    if ($socket) { print $socket "hello\n"; my $answer = <$socket>; note('tcp', 'connected ' . ($answer // 'closed')) }
    else { note('tcp', "$!") }
}
if (my $to = $ask{udp}) {
    my $socket = IO::Socket::INET->new(PeerAddr => $to, Proto => 'udp');
    if ($socket) { my $sent = $socket->send("hello"); select(undef, undef, undef, 0.05); my $again = $socket->send("hello"); note('udp', defined $again ? 'sent' : "$!") }
    else { note('udp', "$!") }
}
if (my $name = $ask{name}) {
    my $address = inet_aton($name);
    note('name', $address ? inet_ntoa($address) : 'unknown');
}
if (my $path = $ask{socket}) {
    my $socket = IO::Socket::UNIX->new(Type => SOCK_STREAM, Peer => $path);
    if ($socket) { my $answer = <$socket>; note('socket', defined $answer ? "served $answer" : 'closed') }
    else { note('socket', "$!") }
}
if (my $path = $ask{write}) {
    note('write', open(my $file, '>', $path) ? 'written' : "$!");
}
if (my $port = $ask{listen}) {
    my $socket = IO::Socket::INET->new(LocalAddr => "127.0.0.1:$port", Proto => 'tcp', Listen => 5);
    note('listen', $socket ? 'listens' : "$!");
    our $kept = $socket;
}
if (my $folder = $ask{fixed}) {
    # As a lock that somebody else holds: only one of all may make it.
    note('fixed', mkdir($folder) ? 'made' : "$!");
}
if ($ask{processes}) {
    opendir(my $proc, '/proc');
    note('processes', scalar grep { /^\d+$/ } readdir $proc);
}
open(my $out, '>', $result) or die "$result: $!";
print $out '{', join(',', @found), "}\n";
close $out;
$| = 1;
print while <STDIN>;
