#!/usr/bin/perl
# Sends frames at ends of links, and says at which others each of them arrives: frames.pl END...
# Lines of input are `END NAME HEX`; a frame has its name in it, in angle brackets. Lines of output are `NAME END`. The
# last frame of each end is one that must arrive somewhere: it tells that those before it had their time. What is then
# still to be read is read.
use strict;
use warnings;
use constant { AF_PACKET => 17, SOCK_RAW => 3, ETH_P_ALL => 3, SIOCGIFINDEX => 0x8933 };

alarm 60;
my %end;
for my $name (@ARGV) {
    socket(my $socket, AF_PACKET, SOCK_RAW, unpack('S', pack('n', ETH_P_ALL))) or die "socket: $!";
    my $request = pack('a16 x24', $name);
    ioctl($socket, SIOCGIFINDEX, $request) or die "$name: $!";
    my $index = unpack('x16 i', $request);
    bind($socket, pack('S n i S C C a8', AF_PACKET, ETH_P_ALL, $index, 0, 0, 0, '')) or die "$name: $!";
    $end{$name} = $socket;
}
my (%last, %heard);
while (my $line = <STDIN>) {
    my ($from, $name, $hex) = split ' ', $line;
    defined syswrite($end{$from}, pack('H*', $hex)) or die "$name: $!";
    $last{$from} = $name;
}
my $until = time + 20;
while (1) {
    my $left = grep { !$heard{$_} } values %last;
    die 'the last frames did not arrive: ' . join(' ', values %last) . "\n" if $left && time > $until;
    my $wanted = '';
    vec($wanted, fileno($_), 1) = 1 for values %end;
    my $ready = $wanted;
    my $found = select($ready, undef, undef, 0.3);
    last if !$left && $found < 1;
    for my $at (sort keys %end) {
        next unless vec($ready, fileno($end{$at}), 1);
        recv($end{$at}, my $frame, 65536, 0);
        while ($frame =~ /<([a-z0-9-]+)>/g) {
            print "$1 $at\n" unless $heard{$1}{$at}++;
        }
    }
}
