#!/usr/bin/perl
# A proxy that takes one request, says what it was asked for, and has nothing.
use strict;
use warnings;
use IO::Socket::INET;

my $server = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 3142, Listen => 5, ReuseAddr => 1)
    or die "listening: $@";
open(my $ready, '>', '/root/ready') or die "/root/ready: $!";
close $ready;
my $client = $server->accept or die "accept: $!";
my $request = <$client>;
print $request;
print $client "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
close $client;
